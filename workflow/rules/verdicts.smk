# Published numbers and claims against the tables, a verdict each; for pairs of models that the tables
# do not compare, against the runs.


rule verdicts:
    input:
        rules.compare.output,
        COMPARABLE,
        published="workflow/published.yaml",
        sources=files(provenance.VERDICT_SOURCES),
    output:
        f"{OUT}/tables/verdicts.csv",
        f"{OUT}/tables/verdicts.md",
        f"{OUT}/tables/assumptions.csv",
    log:
        f"{OUT}/logs/verdicts.log",
    params:
        analysis=PARAMS.analysis_of(SUITE).model_dump_json(),
    shell:
        "python -m stembench verdicts --suite {SUITE.name} > {log} 2>&1"
