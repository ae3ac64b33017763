"""The data-set entries of docs/data.md: pasted into params.yaml, split, and trained on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from stembench.cli.app import app
from stembench.errors import StembenchError
from tests.conftest import ROOT


def section(page: str) -> str:
    """The section of a page that shows how to add a data set."""
    return (ROOT / page).read_text().partition("## Add a data set\n")[2].partition("\n## ")[0]


def entries(text: str) -> dict[str, str]:
    """The entries that a section shows, by name."""
    found = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return {re.match(r"  (\w+):", block).group(1): block for block in found}  # type: ignore[union-attr]


SECTION = section("docs/data.md")
ENTRIES = entries(SECTION)
ROWS = 600


def shop(raw: Path) -> None:
    random = np.random.default_rng(1)
    lines = ["customer,time,country,product,topics,page,clicked,bought,dwell_s"]
    for row in range(ROWS):
        customer, product = random.integers(0, 30), random.integers(0, 25)
        topics = "|".join(f"t{k}" for k in range(product % 4))
        clicked = int(random.random() < 0.3 + 0.4 * (customer % 2))
        bought = int(clicked and random.random() < 0.5)
        dwell = round(float(random.exponential(40)), 1) if clicked else 0.0
        lines.append(
            f"00{customer},2024-01-{1 + row // 30:02} 12:{row % 60:02}:00,"
            f"{'' if customer % 5 == 0 else 'n' + str(customer % 3)},{product},{topics},{row % 3},"
            f"{clicked},{bought},{dwell}"
        )
    (raw / "log.csv").write_text("\n".join(lines) + "\n")


def anime(raw: Path) -> None:
    random = np.random.default_rng(2)
    ratings = random.integers(5, 11, ROWS)
    rows = [f"u{random.integers(30)}\ti{random.integers(25)}\t{rating}" for rating in ratings]
    (raw / "anime.inter").write_text(
        "\n".join(["user_id:token\titem_id:token\trating:float", *rows]) + "\n"
    )
    items = [f"i{i}\tTV{i % 2}\t{' '.join('ABCDE'[: i % 5])}" for i in range(25)]
    (raw / "anime.item").write_text(
        "\n".join(["item_id:token\ttype:token\tgenre:token_seq", *items]) + "\n"
    )


FILES = {"shop": shop, "anime": anime}


def project(root: Path, name: str, entry: str) -> None:
    """params.yaml with the entry, and its raw files where docs/data.md says."""
    text = (ROOT / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("\nanalysis:\n", f"\n{entry}\nanalysis:\n", 1))
    raw = root / "data" / "raw" / name
    assert f"`data/raw/{name}/`" in SECTION
    raw.mkdir(parents=True)
    FILES[name](raw)


def test_both_kinds_are_shown() -> None:
    assert set(ENTRIES) == set(FILES)
    assert all(10 <= len(entry.splitlines()) <= 20 for entry in ENTRIES.values())


def test_the_readme_shows_the_same_entry_and_place() -> None:
    assert entries(section("README.md")) == {"shop": ENTRIES["shop"]}
    assert "`data/raw/shop/`" in section("README.md")


@pytest.mark.parametrize("name", list(FILES))
def test_an_entry_alone_is_split_and_trained(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project(tmp_path, name, ENTRIES[name])
    for command in (["fetch", name], ["split", name], ["train", name, "stem", "2023"]):
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "data/splits" / name / "manifest.json").read_text())
    assert sum(manifest["rows"].values()) == ROWS
    run = json.loads((tmp_path / f"results/demo/runs/{name}/stem/2023/run.json").read_text())
    tasks = {"shop": ["click", "buy", "stay"], "anime": ["like", "love"]}
    assert sorted(run["metrics"]["test"]) == sorted(tasks[name])


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "shop",
            "context: [page]",
            "context: [dwell_s]",
            "field dwell_s leaks the outcome: task s",
        ),
        ("shop", ", stay: clicked = 1 AND dwell_s >= 30", "", "leaks the outcome: it is measured"),
        ("anime", "[item_id, type, genre]", "[item_id, rating]", "field rating leaks the outcome"),
    ],
)
def test_what_leaks_is_refused(
    name: str, old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entry = ENTRIES[name].replace(old, new)
    assert entry != ENTRIES[name]
    if not new:
        entry = entry.replace("context: [page]", "context: [dwell_s]")
    if name == "anime":
        entry = "\n".join(line for line in entry.split("\n") if "bags:" not in line)
    project(tmp_path, name, entry)
    with pytest.raises(StembenchError, match=message):
        CliRunner().invoke(app, ["split", name], catch_exceptions=False)
    assert not (tmp_path / "data/splits" / name).exists()
