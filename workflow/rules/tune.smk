# One search per data set and model, for suites with the protocol `tuned`: the same number of trials
# for every model, scored on the validation part. The plan is the rule's parameter and what is
# carried out. Finished trials stay on disk, so a search that was killed goes on where it was.


rule tune:
    input:
        split=f"{OUT}/data/{{dataset}}.json",
        sources=lambda wildcards: files(
            provenance.tuning_sources(
                PARAMS.models[wildcards.model].class_,
                PARAMS.objective_of(SUITE, wildcards.model).class_,
            )
        ),
    output:
        best=f"{OUT}/tuned/{{dataset}}/{{model}}.yaml",
        trials=f"{OUT}/tuned/{{dataset}}/{{model}}.trials.csv",
    log:
        f"{OUT}/logs/tune/{{dataset}}/{{model}}.log",
    priority: 1
    threads: 1
    resources:
        gpu_cells=1,
    params:
        plan=lambda wildcards: tuned.plan(
            PARAMS, SUITE, wildcards.dataset, wildcards.model
        ),
    shell:
        "OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads} "
        "python -m stembench tune {wildcards.dataset} {wildcards.model} "
        "--suite {SUITE.name} --threads {threads} --plan {params.plan:q} > {log} 2>&1"
