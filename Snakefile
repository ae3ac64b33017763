# The benchmark: every model on every data set with every seed, then tables and report.
#
#   snakemake --cores 8                                        the suite that params.yaml chooses
#   snakemake --cores 8 --config suite=kuairand_pure_sample    another one
#   snakemake --cores 8 -n                                     what would run
include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/comparable.smk"
include: "workflow/rules/verdicts.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        TUNED_FILES,
        RUN_FILES,
        f"{OUT}/tables/main.md",
        f"{OUT}/logs/compare.ok",
        COMPARABLE,
        CARDS,
        f"{OUT}/report.html",
        f"{OUT}/tracking.json",
