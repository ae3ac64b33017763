"""workflow/published.yaml: what ships is well-formed and honest, and mistakes are told."""

from __future__ import annotations

import re

import pytest
import yaml

from stembench.checks.published import Claim, Number, Published, load
from stembench.errors import StembenchError
from tests.conftest import ROOT

SHIPPED = ROOT / "workflow/published.yaml"


@pytest.fixture(scope="module")
def shipped() -> Published:
    return load(SHIPPED)


def test_the_number_of_the_paper_is_second_hand_and_on_no_known_split(shipped: Published) -> None:
    entry = shipped.entries["stem_qk_video_like"]
    assert isinstance(entry, Number)
    assert (entry.value, entry.metric, entry.task) == (0.9426, "auc", "like")
    assert entry.tag == "second-hand"
    here = entry.on("qk_video")
    assert here is not None
    assert not here.comparable()
    assert "split unknown" in here.deviations()
    assert entry.on("movielens") is None


def test_the_claims_of_the_paper_are_compared_everywhere_and_of_order_alone_elsewhere(
    shipped: Published,
) -> None:
    for name in ("stem_negative_transfer", "stem_positive_transfer", "stem_beats_all"):
        entry = shipped.entries[name]
        assert isinstance(entry, Claim)
        assert entry.tag == "seen"
        assert not entry.on("movielens").comparable()
        assert entry.on("tiktok").comparable()  # its split is known from the released code


def test_only_values_that_the_sources_at_hand_hold(shipped: Published) -> None:
    numbers = {n: e.value for n, e in shipped.entries.items() if isinstance(e, Number)}
    assert len(numbers) == 24
    assert numbers["kuairand_1k_mmoe_follow"] == 0.80433
    assert numbers["kuairand_1k_single_task_follow"] == 0.81613
    assert numbers["merrec_omoe_like"] == 0.737
    assert (numbers["aliexpress_nl_lowest"], numbers["aliexpress_nl_highest"]) == (0.8529, 0.8630)


def test_models_tasks_and_data_sets_are_those_of_params(shipped: Published, settings) -> None:
    for name, entry in shipped.entries.items():
        for dataset, here in entry.here.items():
            if dataset == "*":
                continue
            assert dataset in settings.datasets, name
            known = set(settings.datasets[dataset].table.tasks)
            assert set(here.tasks.values()) <= known, name
            others = entry.others if isinstance(entry, Claim) else []
            assert {entry.model, *others} <= set(settings.models), name


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("tag: seen", "tga: seen", r"stem_beats_all\.tga: unknown key, one of paper, source, tag"),
        ("match: same", "match: maybe", r"split\.match: must be 'same', 'differs' or 'unknown'"),
        ("kind: number", "kind: nmber", r"stem_qk_video_like: 'nmber' is not allowed, one of"),
        ("    kind: number\n", "", r"stem_qk_video_like: the key kind must be number or claim"),
        ("value: 0.9426", "value: 94.26", r"an? auc lies between 0 and 1"),
        ("hardware: unknown", "hardwear: x", r"source_says\.hardwear: unknown key, one of data"),
        ("others: [mmoe, ple]", "others: [single_task]", r"single_task cannot be compared with"),
        ("stem_positive_transfer:", "stem_negative_transfer:", r"stands twice"),
        ("entries:", "entries: [", r"is not valid YAML"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path, old: str, new: str, told: str) -> None:
    path = tmp_path / "published.yaml"
    text = SHIPPED.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(StembenchError) as error:
        load(path)
    assert re.search(told, str(error.value)), str(error.value)


def test_an_absent_file_says_how_to_get_it(tmp_path) -> None:
    with pytest.raises(StembenchError, match="is not there"):
        load(tmp_path / "published.yaml")


def test_a_users_entry_is_one_more_key(tmp_path) -> None:
    doc = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/verify.md").read_text(), re.DOTALL)
    assert doc is not None
    path = tmp_path / "published.yaml"
    path.write_text("entries:\n" + doc[1])
    (entry,) = load(path).entries.values()
    assert yaml.safe_load(doc[1]).keys() == load(path).entries.keys()
    assert isinstance(entry, Number)
    assert entry.on("kuairand_pure").comparable()
