# What params.yaml asks for. Everything wrong with it ends here, before any job.
import os
import sys

from stembench import provenance
from stembench.params import load as params
from stembench.params import resolve, tuned
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
    (run.dataset, run.model, str(run.seed)): run
    for run in resolve.expand(PARAMS, SUITE)
}
CARDS = expand(
    f"{OUT}/data_cards/{{dataset}}.{{kind}}",
    dataset=SUITE.datasets,
    kind=["html", "json"],
)
#: The outcome of a search, by data set and model; empty where the suite is not tuned.
TUNED = f"{OUT}/tuned/{{dataset}}/{{model}}.yaml" if SUITE.protocol == "tuned" else ""
TUNED_FILES = (
    expand(TUNED, dataset=SUITE.datasets, model=PARAMS.models_of(SUITE))
    if TUNED
    else []
)
# The last are of what the runs' diagnostics hold; see src/stembench/report/sections/diagnostics.py.
FIGURES = ["forest", "learning_curves", "seeds", "variance", "calibration", "cost"]
if any(run.spec["train"]["diagnostics"] for run in RUNS.values()):
    FIGURES += ["gates", "cosines", "abundance"]
if PARAMS.designs_of(SUITE):
    FIGURES += ["factors"]
#: What `make validate` found, where it was run: the report's appendix.
VALIDATION = [
    path for path in ("results/validation/validation.csv",) if os.path.exists(path)
]
RUN_FILES = [f"{OUT}/runs/{'/'.join(cell)}/run.json" for cell in RUNS]


def files(paths):
    return [os.path.relpath(path) for path in paths]


wildcard_constraints:
    dataset="|".join(SUITE.datasets),
    model="|".join(PARAMS.models_of(SUITE)),
    seed=r"\d+",


onstart:
    # On the machine that trains: a missing compiler ends the command before its first cell.
    compiling = {
        run.spec["train"]["device"]
        for run in RUNS.values()
        if run.spec["train"]["compile"]
    }
    if compiling and workflow.local_exec:
        from stembench.training import compiled, device

        try:
            for name in sorted(compiling):
                compiled.check_tools(device.choose(name))
        except StembenchError as error:
            sys.exit(f"stembench: error: {error}")
    # Snakemake's default limit of 100 new jobs a second leaves a timer behind each job that has
    # ended, and every timer looks at all ready jobs each second, so that its own work grows with
    # the square of the cells. Limits that someone set stand.
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
