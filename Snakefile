# The benchmark: every model on every data set with every seed, then tables and report.
#
#   snakemake --cores 8                                        the suite that params.yaml chooses
#   snakemake --cores 8 --config suite=kuairand_pure_sample    another one
#   snakemake --cores 8 -n                                     what would run
import os
import sys

from stembench import params, provenance
from stembench.errors import StembenchError

try:
    PARAMS = params.load()
    SUITE = PARAMS.select(config.get("suite"))
except StembenchError as error:
    sys.exit(f"stembench: error: {error}")

OUT = f"results/{SUITE.name}"
RUNS = {
    (run.dataset, run.model, str(run.seed)): run for run in params.expand(PARAMS, SUITE)
}
RUN_FILES = [
    f"{OUT}/runs/{dataset}/{model}/{seed}/run.json" for dataset, model, seed in RUNS
]


def files(paths):
    return [os.path.relpath(path) for path in paths]


wildcard_constraints:
    dataset="|".join(SUITE.datasets),
    model="|".join(PARAMS.models_of(SUITE)),
    seed=r"\d+",


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        RUN_FILES,
        f"{OUT}/tables/main.md",
        f"{OUT}/report.html",
        f"{OUT}/tracking.json",
