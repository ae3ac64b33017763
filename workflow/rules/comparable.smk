# The transfer gap to Single-Task on comparable samples, for suites that have them.
COMPARABLE = (
    [
        f"{OUT}/tables/comparable.csv",
        f"{OUT}/tables/comparable_sensitivity.csv",
        f"{OUT}/tables/comparable.md",
        *expand(
            f"{OUT}/figures/comparable{{which}}.{{kind}}",
            which=["", "_sensitivity"],
            kind=["svg", "png"],
        ),
    ]
    if PARAMS.has_comparable(SUITE)
    else []
)

if COMPARABLE:

    rule comparable:
        input:
            RUN_FILES,
            sources=files(provenance.COMPARABLE_SOURCES),
        output:
            COMPARABLE,
        log:
            f"{OUT}/logs/comparable.log",
        params:
            analysis=PARAMS.analysis_of(SUITE).model_dump_json(),
        shell:
            "python -m stembench comparable --suite {SUITE.name} > {log} 2>&1"
