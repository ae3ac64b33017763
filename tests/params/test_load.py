"""params.yaml: every fault is one clear message with what is allowed; precedence; identity."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from stembench.errors import StembenchError
from stembench.params import load as params
from stembench.params import resolve
from tests.conftest import ROOT

TEXT = (ROOT / "params.yaml").read_text()


def edited(old: str, new: str) -> str:
    assert old in TEXT, f"{old!r} is no longer in params.yaml"
    return TEXT.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  lr: 1.0e-3\n", "  lr: 1e-4\n", r"train\.lr: '1e-4' is text.*1\.0e-4"),
        ("  lr: 1.0e-3\n", "  lr: -1.0\n", r"train\.lr: must be greater than 0, not -1\.0"),
        ("  lr: 1.0e-3\n", "  lr: 1.0e-3\n  lrr: 1.0\n", r"train\.lrr: unknown key, one of .*batch_size"),
        ("    train: {lr: 3.0e-3, batch_size: 1024,", "    train: {lr: -3.0, batch_size: 1024,", r"datasets\.movielens\.train\.lr: must be greater than 0, not -3\.0"),
        ("    train: {lr: 3.0e-3, batch_size: 1024,", "    train: {lr: 1e-3,", r"datasets\.movielens\.train\.lr: '1e-3' is text"),
        ("    train: {lr: 3.0e-3, batch_size: 1024,", "    train: {lrr: 1.0,", r"datasets\.movielens\.train\.lrr: unknown key, one of optimizer"),
        ("batch_size: 1024", "batch_size: 0", r"datasets\.movielens\.train\.batch_size: must be greater"),
        ("  epochs: 20\n", "  epochs: 0\n", r"train\.epochs: must be greater than or equal to 1"),
        ("  epochs: 20\n", "  epochs: 2.5\n", r"train\.epochs: must be a valid integer, not 2\.5"),
        ("  epochs: 20\n", "", r"train\.epochs: this key is missing"),
        ("  device: auto", "  device: tpu", r"train\.device: must be 'auto', 'cpu' or 'cuda', not 'tpu'"),
        ("seeds: [2023, 76,", "seeds: [2023, 2023,", r"seeds: 2023 stands twice"),
        ("seeds: [2023, 76,", "seeds: [-1, 76,", r"seeds\.0: must be greater than or equal to 0"),
        ("    seeds: 5\n", "    seeds: 500\n", r"suites\.demo\.seeds: at most 20"),
        ("    models: [single_task, shared_bottom, mmoe, ple, stem]\n", "    models: [stem, mmoo]\n", r"suites\.demo\.models: unknown 'mmoo', one of single_task"),
        ("    models: [single_task, shared_bottom, mmoe, ple, stem]\n", "    models: [mmoe]\n", r"suites\.demo\.models: must hold stem, the analysis\.reference"),
        ("synthetic_null, movielens]", "movielenz]", r"suites\.demo\.datasets: unknown 'movielenz', one of synthetic_conflict"),
        ("class: mmoe.MMoE", "class: mmoee.MMoE", r"models\.mmoe\.class: no model file mmoee\.py, one of .*mmoe, .*ple, "),
        ("class: mmoe.MMoE", "class: mmoe.MMOE", r"models\.mmoe\.class: no class MMOE in mmoe\.py, one of MMoE"),
        ("    class: mmoe.MMoE\n    args: {num_experts: 4}", "    class: mmoe.MMoE\n    args: {num_expert: 4}", r"models\.mmoe\.args: unknown argument 'num_expert', one of .*num_experts"),
        ("    class: mmoe.MMoE\n    args: {num_experts: 4}", "    class: mmoe.MMoE\n    args: {num_experts: 0}", r"models\.mmoe\.args\.num_experts: must be a positive integer"),
        ("  dropout: 0.0", "  dropout: 1.0", r"args\.dropout: must lie in \[0, 1\)"),
        ("correlation: -0.8", "correlation: -1.8", r"options\.correlation: must lie in \[-1, 1\]"),
        ("kind: atomic", "kind: atomik", r"datasets\.movielens\.source\.kind: unknown 'atomik', one of atomic"),
        ("      options: {prefix: ml-100k}", "      options: {}", r"movielens\.source\.options\.prefix: this key is missing"),
        ("rule: time, valid: 0.1", "rule: time, valid: 0.95", r"split\.valid \+ split\.test must stay below 1"),
        ("rule: time, ", "rule: tyme, ", r"datasets\.movielens\.split: 'tyme' is not allowed, one of .*'time'"),
        ("rule: random, valid: 0.1, test: 0.2, seed: 7", "rule: random, valid: 0.1, test: 0.2, seed: 7, k: 1",
         r"synthetic_conflict\.split\.k: unknown key, one of name, rule, valid, test, seed"),
        ("      train_until: 20220503", "      train_until: 20220507", r"train_until < valid_until < test_until"),
        ("bags: {class:", "bags: {klass:", r"table\.bags: unknown 'klass', one of user_id"),
        ("      bags: {class:", "      numeric: {agee: {buckets: 4, scale: log}}\n      bags: {class:", r"table\.numeric: unknown 'agee', one of user_id"),
        ("      bags: {class:", "      numeric: {class: {buckets: 4, scale: log}}\n      bags: {class:", r"table\.numeric: class is a bag; a field is one or the other"),
        ("      bags: {class:", "      numeric: {age: {buckets: 4, scale: log}}\n      min_counts: {age: 2}\n      bags: {class:", r"table\.min_counts: age is numeric, and numbers in buckets are not counted"),
        ("      bags: {class:", "      numeric: {age: {buckets: 1, scale: log}}\n      bags: {class:", r"numeric\.age\.buckets: must be greater than or equal to 2, not 1"),
        ("      bags: {class:", "      numeric: {age: {buckets: 4, scale: linear}}\n      bags: {class:", r"numeric\.age\.scale: one of 'quantile' or 'log'|numeric\.age\.scale: must be 'quantile' or 'log'"),
        ("rule: time, valid: 0.1, test: 0.1", "rule: train_test_split, valid: 0.1, test: 0.1", r"movielens\.split\.seed: this key is missing"),
        ("rule: time, valid: 0.1, test: 0.1", "rule: user_order, valid: 0.1, test: 0.1, unbiased: a = 1", r"movielens\.split\.unbiased: unknown key, one of name, rule, valid, test"),
        ("rule: time, valid: 0.1, test: 0.1", "rule: user_order, valid: 0.6, test: 0.6", r"split\.valid \+ split\.test must stay below 1"),
        ("context: [hour]}", "context: [item_id]}", r"table\.fields: item_id stands twice"),
        ("  alpha: 0.05", "  alpha: 5", r"analysis\.alpha: must be less than 1"),
        ("  alpha: 0.05", "  alpha: 0.05\n  alpha: 0.1", r"the key 'alpha' stands twice"),
        ("suite: *demo", "suite: demo", r"write `suite: \*demo`"),
        ("name: demo\n", "name: other\n", r"suites\.demo\.name: must be demo"),
        ("mirrors: [package: recbole==1.2.1]", "mirrors: [pakage: recbole==1.2.1]", r"mirrors\.0\.pakage: unknown key, one of url, package"),
        ("    args: {num_experts: 8, num", "    args: {num_expertz: 8, num", r"suites\.kuairand_pure\.args: unknown argument 'num_expertz'"),
        ("    train: {lr: 3.0e-3, batch_size: 1024,", "    train: {lr: , batch_size: 1024,", r"movielens\.train\.lr: must be a valid number, not None"),
        ("  clip_norm: 10.0", "  clip_norm: .inf", r"train\.clip_norm: must be a finite number, not inf"),
        ("bottom_units: [64, 32]", "bottom_units: []", r"args\.bottom_units: must hold at least one width"),
        ("    seeds: 5\n", "    seeds: [-1, 2]\n", r"suites\.demo\.seeds\.0: must be greater than or equal to 0, not -1"),
        ("    seeds: 5\n", "    seeds: []\n", r"suites\.demo\.seeds: .*at least 1 item"),
        ("    seeds: 5\n", "    seeds: 0\n", r"suites\.demo\.seeds: must be greater than or equal to 1, not 0$"),
        ("    seeds: 5\n", "    seeds: [5, 5]\n", r"suites\.demo\.seeds: 5 stands twice"),
        ("    seeds: 5\n", "    seeds: {first: 1, count: 0}\n", r"suites\.demo\.seeds\.count: must be greater than or equal to 1, not 0"),
        ("    seeds: 5\n", "    seeds: {first: 1}\n", r"suites\.demo\.seeds\.count: this key is missing"),
        ("    seeds: 5\n", "    seeds: {first: 1, number: 3}\n", r"suites\.demo\.seeds\.number: unknown key"),
        ("    seeds: 5\n", "    seeds: {first: 2147483600, count: 100}\n", r"suites\.demo\.seeds\.first: must be less than or equal to 2000000000"),
        ("    models: [single_task, shared_bottom, mmoe, ple, stem]\n", "    models: stem\n", r"suites\.demo\.models: must be 'all', not 'stem', or must be a valid list"),
        ("        shared: 1.0", "        shared: .nan", r"options\.shared: must be a finite number"),
        ("        specific: 1.5", "        specific: -1.5", r"options\.specific: must be at least 0"),
        ("valid: 0.1, test: 0.2, seed: 7", "valid: 0.1, test: 0.2, seed: -7", r"split\.seed: must be greater than or equal to 0"),
        ("        seed: 7\n", "        seed: -7\n", r"options\.seed: must be an integer of at least 0"),
        ("rule: time, ", "", r"datasets\.movielens\.split: the key rule is missing: random, time or days"),
        ("class: home.HoME", "class: home.Unit", r"models\.home\.class: Unit of home\.py is no model"),
        ("class: ple.PLE", "class: ple.Ple", r"^params\.yaml:\n  models\.ple\.class: no class Ple in ple\.py, one of PLE$"),
        ("    args: *small", "    args: 3", r"datasets\.movielens\.args: must be a mapping"),
        ("  alpha: 0.05", "  ? [a, b]\n  : 1", r"a key must be a plain word"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_what_is_allowed(old: str, new: str, message: str) -> None:
    with pytest.raises(StembenchError) as caught:
        params.parse(edited(old, new))
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_several_faults_are_told_at_once_each_on_a_line() -> None:
    text = edited("  lr: 1.0e-3\n", "  lr: 2.0\n").replace("  epochs: 20\n", "  epochs: x\n", 1)
    with pytest.raises(StembenchError) as caught:
        params.parse(text)
    assert len(str(caught.value).splitlines()) == 3  # the file's name and a line per fault


def test_unknown_suite_lists_the_known_ones(settings: params.Params) -> None:
    with pytest.raises(StembenchError, match=r"unknown suite 'x': one of demo, "):
        settings.select("x")


def test_precedence_is_train_dataset_model_suite() -> None:
    def lr(text: str) -> float:
        settings = params.parse(text)
        return resolve.resolve(settings, settings.suite, "movielens", "mmoe", 1).spec["train"]["lr"]

    text = TEXT
    text = text.replace("    train: {lr: 3.0e-3, batch_size: 1024,", "    train: {")
    assert lr(text) == 1e-3
    text = text.replace("    train: { patience: 2}\n    args: *small", "    train: {lr: 2.0e-3}")
    assert lr(text) == 2e-3
    text = text.replace("class: mmoe.MMoE\n", "class: mmoe.MMoE\n    train: {lr: 3.0e-3}\n")
    assert lr(text) == 3e-3
    text = text.replace("    name: demo\n", "    name: demo\n    train: {lr: 4.0e-3}\n")
    assert lr(text) == 4e-3


def test_arguments_follow_the_same_precedence(settings: params.Params) -> None:
    def args(suite: str, model: str) -> dict:
        dataset = settings.select(suite).datasets[0]
        return resolve.resolve(settings, settings.select(suite), dataset, model, 1).spec["args"]

    assert args("kuairand_pure", "mmoe")["expert_units"] == [512, 512, 512]  # class default
    assert args("kuairand_pure", "mmoe")["embedding_dim"] == 16  # args
    assert args("demo", "mmoe")["expert_units"] == [64, 32]  # data set
    assert args("demo", "mmoe")["num_experts"] == 4  # model
    assert args("kuairand_pure", "mmoe")["num_experts"] == 8  # suite
    assert "num_experts" not in args("demo", "stem")  # not an argument of STEM


def test_expand_is_the_grid_and_an_identity_is_the_hash_of_the_sorted_spec(
    settings: params.Params,
) -> None:
    runs = resolve.expand(settings, settings.select("demo"))
    assert len(runs) == 3 * 5 * 5
    assert len({run.sha256 for run in runs}) == len(runs)
    run = runs[0]
    text = json.dumps(run.spec, sort_keys=True, ensure_ascii=False)
    assert run.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_a_change_of_one_model_changes_that_models_runs_only(settings: params.Params) -> None:
    changed = params.parse(edited("class: ple.PLE\n", "class: ple.PLE\n    train: {lr: 5.0e-4}\n"))
    before = resolve.expand(settings, settings.suite)
    after = resolve.expand(changed, changed.suite)
    moved = {a.model for a, b in zip(before, after, strict=True) if a.sha256 != b.sha256}
    assert moved == {"ple"}


def test_suites_take_the_first_seeds(settings: params.Params) -> None:
    assert settings.seeds_of(settings.select("demo")) == [2023, 76, 525, 728, 42]
    many = settings.seeds_of(settings.select("equivalence"))
    assert many == list(range(300001, 300201))


def test_a_file_that_is_no_text_is_told(tmp_path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"suite: \xff\xfe")
    with pytest.raises(StembenchError, match="not UTF-8 text"):
        params.load(tmp_path / "params.yaml")


def test_missing_file_says_where_to_run(tmp_path) -> None:
    with pytest.raises(StembenchError, match="run from the project's folder"):
        params.load(tmp_path / "params.yaml")


def test_a_suite_may_have_a_margin_of_its_own(settings: params.Params) -> None:
    own = settings.select("precision")
    assert own.margin is not None
    assert settings.analysis_of(own).margin == own.margin != settings.analysis.margin
    assert settings.analysis_of(settings.select("demo")) == settings.analysis
    assert settings.analysis_of(own).alpha == settings.analysis.alpha
