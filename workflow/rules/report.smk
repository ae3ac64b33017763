# A data card a data set, from its split; figures and the self-contained report, from the tables and
# cards alone; then MLflow, a copy of it all.


rule card:
    input:
        split=f"{OUT}/data/{{dataset}}.json",
        sources=files(provenance.CARD_SOURCES),
    output:
        html=f"{OUT}/data_cards/{{dataset}}.html",
        json=f"{OUT}/data_cards/{{dataset}}.json",
    log:
        f"{OUT}/logs/data_cards/{{dataset}}.log",
    params:
        data=lambda wildcards: PARAMS.datasets[wildcards.dataset].data_json(),
    shell:
        "python -m stembench data show {wildcards.dataset} "
        "--html {output.html} --json {output.json} > {log} 2>&1"


rule report:
    input:
        rules.compare.output,
        rules.verdicts.output,
        COMPARABLE,
        cards=CARDS,
        validation=VALIDATION,
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
