# One job per cell. The resolved spec is the rule's parameter and what the trainer reads, so what
# triggered a cell is what it trains; in a tuned suite the search's outcome is an input, and its
# values replace some of the spec's. The code trigger does not see imported modules: the source files
# are inputs. `--resources gpu_cells=N` bounds the cells and searches that run at once by more than cores:
# on a GPU they share its memory.


rule database:
    output:
        touch(f"{OUT}/logs/database.ok"),
    log:
        f"{OUT}/logs/database.log",
    shell:
        "python -m stembench track --init 2> {log}"


rule train:
    input:
        split=f"{OUT}/data/{{dataset}}.json",
        sources=lambda wildcards: files(
            provenance.training_sources(
                PARAMS.models[wildcards.model].class_,
                PARAMS.objective_of(SUITE, wildcards.model).class_,
            )
        ),
        tuned=TUNED or [],
        database=ancient(f"{OUT}/logs/database.ok"),
    output:
        run=f"{OUT}/runs/{{dataset}}/{{model}}/{{seed}}/run.json",
        history=f"{OUT}/runs/{{dataset}}/{{model}}/{{seed}}/history.csv",
        logits=f"{OUT}/runs/{{dataset}}/{{model}}/{{seed}}/test_logits.npy",
    log:
        f"{OUT}/logs/{{dataset}}/{{model}}/{{seed}}.log",
    threads: 1
    resources:
        gpu_cells=1,
    params:
        spec=lambda wildcards: RUNS[
            wildcards.dataset, wildcards.model, wildcards.seed
        ].json,
        tuned=f"--tuned {TUNED}" if TUNED else "",
    shell:
        "OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads} "
        "python -m stembench train {wildcards.dataset} {wildcards.model} {wildcards.seed} "
        "--suite {SUITE.name} --threads {threads} --spec {params.spec:q} {params.tuned} "
        "> {log} 2>&1"
