# Figures and the self-contained report, from the tables alone; then MLflow, a copy of it all.


rule report:
    input:
        rules.compare.output,
        sources=files(provenance.REPORT_SOURCES),
    output:
        f"{OUT}/report.html",
        expand(
            f"{OUT}/figures/{{figure}}.{{kind}}",
            figure=FIGURES,
            kind=["svg", "png"],
        ),
    log:
        f"{OUT}/logs/report.log",
    shell:
        "python -m stembench report --suite {SUITE.name} > {log} 2>&1"


rule track:
    input:
        rules.report.output,
        runs=RUN_FILES,
        sources=files(provenance.TRACKING_SOURCES),
    output:
        f"{OUT}/tracking.json",
    log:
        f"{OUT}/logs/track.log",
    shell:
        "python -m stembench track --suite {SUITE.name} --stamp {output} > {log} 2>&1"
