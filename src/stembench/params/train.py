"""What the sections of params.yaml have in common: strict types, names, and how one trains."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from stembench.params.types import Positive, Strict


class Select(Strict):
    """Which epoch's weights are kept: the best validation `metric`, as the mean `over` the tasks or
    task by task; `both`: train on until either rule has stopped, and read the test part by both."""

    metric: Literal["auc"]
    over: Literal["mean", "task"]
    both: bool


class Train(Strict):
    """How every model is trained."""

    optimizer: Literal["adam"]
    embedding_optimizer: Literal["dense", "rows"]
    lr: float = Field(gt=0, le=1)
    batch_size: Positive
    epochs: Positive
    patience: Positive
    embedding_l2: float = Field(ge=0, le=1)
    clip_norm: float = Field(gt=0)
    precision: Literal["float32", "bfloat16", "auto"]
    device: Literal["auto", "cpu", "cuda"]
    compile: bool
    select: Select
    diagnostics: bool
    keep_weights: bool


def _bounded(info: FieldInfo) -> Any:
    """The field's type with its bounds."""
    return Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation


#: `train` of a data set, model or suite: the same keys, types and bounds, none required. A key
#: without a value is refused; None stands for a key that is not there.
PartialTrain: Any = create_model(  # type: ignore[call-overload]
    "PartialTrain",
    __base__=Strict,
    **{name: (_bounded(info), None) for name, info in Train.model_fields.items()},
)
