"""The data card: self-contained, the same bytes every time, linked from the report."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stembench.data.directory import SplitDirectory
from stembench.data.facts import facts as read_facts
from stembench.errors import StembenchError
from stembench.report.cards import facts as card
from stembench.report.cards.html import write_card
from stembench.report.cards.text import print_card
from stembench.report.figures import svg as plots
from stembench.report.page import write_report
from tests.report.test_html import Page


@pytest.fixture
def facts(split_path: Path) -> dict[str, Any]:
    return read_facts(SplitDirectory(split_path)) | {"archives": [], "generated": False}


def page(facts: dict[str, Any], tmp_path: Path) -> str:
    return write_card(facts, tmp_path / "card.html").read_text(encoding="utf-8")


def test_self_contained_and_accessible(facts: dict[str, Any], tmp_path: Path) -> None:
    text = page(facts, tmp_path)
    parsed = Page(text)
    assert not re.search(r"https?://|url\(|@import|<script|<img", text)
    pictures = [attributes for tag, attributes in parsed.tags if attributes.get("role") == "img"]
    assert len(pictures) == 3  # rates, activity, labels; nothing is out of vocabulary
    assert all(len(attributes["aria-label"] or "") > 30 for attributes in pictures)
    tables = sum(tag == "table" for tag, _ in parsed.tags)
    assert tables == sum(tag == "caption" for tag, _ in parsed.tags) == 5
    assert "prefers-color-scheme: dark" in text


def test_same_bytes_also_after_json(facts: dict[str, Any], tmp_path: Path) -> None:
    first = page(facts, tmp_path)
    assert page(json.loads(json.dumps(facts, sort_keys=True)), tmp_path) == first


def test_says_what_the_data_are(facts: dict[str, Any], tmp_path: Path) -> None:
    assert "Synthetic: generated" not in page(facts, tmp_path)
    assert "Synthetic: generated" in page(facts | {"generated": True}, tmp_path)
    assert "Synthetic: generated" in page(facts | {"dataset": "synthetic_null"}, tmp_path)
    assert "A sample of a real log" in page(facts | {"dataset": "kuairand_pure_sample"}, tmp_path)


def test_days_and_random_exposure_are_shown_where_known(
    facts: dict[str, Any], tmp_path: Path
) -> None:
    assert "Rows per day" not in page(facts, tmp_path)
    days = {"train": {"20220425": 100, "20220426": 300}, "valid": {"20220427": 200}}
    facts["parts"].append(facts["parts"][-1] | {"part": "unbiased", "rows": 77})
    for field in facts["fields"]:
        for kind in ("unknown", "missing"):
            field[kind]["unbiased"] = 0.25
    text = page(facts | {"days": days}, tmp_path)
    Page(text)
    assert "3, 20220425 to 20220427" in text
    assert "randomly exposed items" in text
    assert "OOV unbiased" in text
    assert 'class="s3"' in text


def test_ids_are_escaped(facts: dict[str, Any], tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    facts |= {"dataset": evil, "split": evil, "tasks": [evil, "b"]}
    facts["fields"][0] |= {"name": evil, "unknown": {"train": 0, "valid": 0.5, "test": 0.1}}
    for part in facts["parts"]:
        part["rates"] = {evil: 0.2, "b": 0.4}
    facts["pairs"][0] |= {"a": evil, "b": "b"}
    facts["archives"] = [{"file": evil, "licence": evil}]
    text = page(facts, tmp_path)
    Page(text)
    assert "<script" not in text


def test_the_terminal_shows_the_same_numbers(facts: dict[str, Any]) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    print_card(facts, console)
    text = console.export_text()
    for name, value in card.key_facts(facts):
        assert name in text
        assert value.split(",")[0] in text
    for grid in (card.parts_grid(facts), card.pairs_grid(facts), card.fields_grid(facts)):
        for row in grid.rows:
            assert re.search(r"\s+".join(re.escape(cell) for cell in row if cell), text), row


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.442, "44.2%"),
        (0.000853, "0.0853%"),
        (0, "0%"),
        (1, "100%"),
        (None, "n/a"),
        (1e-9, "1.0e-07%"),
    ],
)
def test_percent(share: float | None, shown: str) -> None:
    assert card.percent(share) == shown


def test_bars_are_as_long_as_their_values() -> None:
    svg = plots.bars([("a", [(0.2, "20%")]), ("b", [(0.1, "10%"), (None, "n/a")])], "Bars")
    long, half, none = map(float, re.findall(r'width="([\d.]+)" height="9"', svg))
    assert half == pytest.approx(long / 2, rel=1e-4)
    assert none == 0.5


def test_the_report_links_to_the_cards_that_there_are(
    make_results: Callable[..., Path], facts: dict[str, Any]
) -> None:
    results = make_results(datasets={"movielens": ("like",), "synthetic_null": ("click",)})
    assert "data_cards" not in write_report(results).read_text()
    folder = results / "data_cards"
    write_card(facts, folder / "movielens.html")
    (folder / "movielens.json").write_text(json.dumps(facts))
    text = write_report(results).read_text()
    Page(text)
    assert re.findall(r'href="(data_cards/[^"]+)"', text) == ["data_cards/movielens.html"]
    assert (results / "data_cards/movielens.html").exists()
    for name, value in card.key_facts(facts):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text
    (folder / "movielens.json").write_text("{}")
    with pytest.raises(StembenchError, match="stembench data show movielens --html"):
        write_report(results)
