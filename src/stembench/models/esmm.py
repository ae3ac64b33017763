"""ESMM: Ma et al., Entire Space Multi-Task Model: An Effective Approach for Estimating
Post-Click Conversion Rate, SIGIR 2018."""

from __future__ import annotations

import torch
from torch import Tensor

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.layers import logits, towers


class ESMM(MultiTask):
    """p_1 = s(a_1), p_2 = p_1 s(a_2), a_t = tower_t(x): eqs. 1 and 3 of the paper.

    s is the logistic function, task 1 the click, task 2 the click with conversion, so labels must
    be nested and two. The second logit returned is that of the product,
    log(p_2 / (1 - p_2)) = -log(e^-a_1 + e^-a_2 + e^-(a_1 + a_2)); on it the plain cross entropy is
    the paper's loss over the entire space, and none needs to be defined here.

    The towers share the one table alone. The loss of 1 reaches tower 1, that of 2 both towers.
    """

    requires_nested = True
    required_tasks = 2

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        bottom_units: SomeWidths = (512, 512, 512),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        self.embeddings = EmbeddingBank(schema, embedding_dim)
        self.towers = towers(2, self.embeddings.output_dim, bottom_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, 2)."""
        (x,) = self.embeddings(fields)
        click, conversion = logits(self.towers, [x, x]).unbind(1)
        odds = torch.stack([-click, -conversion, -click - conversion], dim=1)
        return torch.stack([click, -odds.logsumexp(1)], dim=1)
