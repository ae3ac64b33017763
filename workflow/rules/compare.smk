# Tables from all runs of the suite. When a cell fails, the tables are made from the others and
# name what is missing, so that they never stay old.


rule compare:
    input:
        runs=RUN_FILES,
        tuned=TUNED_FILES,
        sources=files(provenance.COMPARISON_SOURCES + provenance.REPORT_SOURCES),
    output:
        f"{OUT}/tables/cells.csv",
        f"{OUT}/tables/runs.csv",
        f"{OUT}/tables/metrics.csv",
        f"{OUT}/tables/comparison.csv",
        f"{OUT}/tables/oracle.csv",
        f"{OUT}/tables/cost.csv",
        f"{OUT}/tables/factors.csv",
        f"{OUT}/tables/calibration.csv",
        f"{OUT}/tables/inputs.json",
        f"{OUT}/tables/main.md",
        f"{OUT}/tables/main.tex",
        f"{OUT}/tables/comparison.md",
        f"{OUT}/tables/comparison.tex",
        f"{OUT}/tables/cost.md",
        f"{OUT}/tables/cost.tex",
        f"{OUT}/tables/calibration.md",
        f"{OUT}/tables/calibration.tex",
        f"{OUT}/tables/factors.md",
        f"{OUT}/tables/factors.tex",
        f"{OUT}/tables/evidence.csv",
        f"{OUT}/tables/evidence.md",
        f"{OUT}/tables/power.csv",
        f"{OUT}/tables/across.csv",
        f"{OUT}/metrics.json",
        # Removed when the tables are made past Snakemake's records, so that it makes them again.
        touch(f"{OUT}/logs/compare.ok"),
    log:
        f"{OUT}/logs/compare.log",
    params:
        analysis=PARAMS.analysis_of(SUITE).model_dump_json(),
    shell:
        "python -m stembench compare --suite {SUITE.name} > {log} 2>&1"


onerror:
    shell(
        f"rm -f {OUT}/logs/compare.ok && "
        f"python -m stembench compare --partial --suite {SUITE.name} && "
        + (
            f"python -m stembench comparable --partial --suite {SUITE.name} && "
            if COMPARABLE
            else ""
        )
        + f"python -m stembench verdicts --partial --suite {SUITE.name} && "
        f"python -m stembench report --suite {SUITE.name} && "
        f"python -m stembench track --suite {SUITE.name}"
    )
