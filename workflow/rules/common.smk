# What params.yaml asks for. Everything wrong with it ends here, before any job.
import os
import sys

from stembench import params, provenance
from stembench.errors import StembenchError

try:
    PARAMS = params.load()
    SUITE = PARAMS.select(config.get("suite"))
except StembenchError as error:
    sys.exit(f"stembench: error: {error}")
if unknown := set(config) - {"suite"}:
    sys.exit(
        f"stembench: error: unknown --config {', '.join(unknown)}: only suite=NAME"
    )

OUT = f"results/{SUITE.name}"
RUNS = {
    (run.dataset, run.model, str(run.seed)): run for run in params.expand(PARAMS, SUITE)
}
CARDS = expand(
    f"{OUT}/data_cards/{{dataset}}.{{kind}}",
    dataset=SUITE.datasets,
    kind=["html", "json"],
)
RUN_FILES = [f"{OUT}/runs/{'/'.join(cell)}/run.json" for cell in RUNS]


def files(paths):
    return [os.path.relpath(path) for path in paths]


wildcard_constraints:
    dataset="|".join(SUITE.datasets),
    model="|".join(PARAMS.models_of(SUITE)),
    seed=r"\d+",
