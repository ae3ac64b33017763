# One job per data set: its split, made through DVC, which owns data/. When this job runs again, the
# data set's cells are trained again, even if the split comes out the same.


rule data:
    input:
        sources=lambda wildcards: files(
            provenance.split_sources(PARAMS.datasets[wildcards.dataset].source.kind)
        ),
    output:
        stamp=f"{OUT}/data/{{dataset}}.json",
    log:
        f"{OUT}/logs/data/{{dataset}}.log",
    params:
        data=lambda wildcards: PARAMS.datasets[wildcards.dataset].data_json(),
    shell:
        "python -m stembench data make {wildcards.dataset} --stamp {output.stamp} 2> {log}"
