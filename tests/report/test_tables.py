"""Markdown and LaTeX tables.

The golden files are what the generator of conftest.py gives. After a wanted change:

    STEMBENCH_WRITE_GOLDEN=1 python -m pytest tests/report/test_tables.py -k golden

and read the difference before it is committed.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pandas as pd
import pytest

from stembench.errors import StembenchError
from stembench.report import names
from stembench.report import sentences as content
from stembench.report.tables import latex
from stembench.report.tables.markdown import escape, write_tables
from stembench.report.tables.side import write_side_tables
from tests.report.conftest import ranked
from tests.report.full import complete

GOLDEN = Path(__file__).parents[1] / "golden"
Make = Callable[..., Path]
#: Cells that do not count: single seeds of two models, and every seed of a third.
GAPS = {
    ("movielens", "ple", 76): "missing",
    ("movielens", "ple", 525): "missing",
    ("movielens", "mmoe", 42): "stale",
    **{("synthetic_null", "mmoe", seed): "damaged" for seed in (2023, 76, 525, 728, 42)},
}
#: Ids that every table format must survive.
STRANGE = {"datasets": {"a_b&c|d": ("50%_#1", "x<y>{z}~^")}, "models": ("stem", "m$_*1\\")}


def edit(results: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = results / "tables" / f"{name}.csv"
    table = change(pd.read_csv(path))
    (ranked(table) if name == "metrics" else table).to_csv(path, index=False)


def read(results: Path, name: str = "main.md") -> str:
    write_tables(results)
    return (results / "tables" / name).read_text(encoding="utf-8")


def rows_of(text: str, model: str) -> list[str]:
    """A model's rows in the order of the page: AUC of each data set, then log loss."""
    return [line for line in text.splitlines() if line.startswith(f"| {model} |")]


@pytest.mark.parametrize("name", ["main.md", "main.tex", "comparison.md", "comparison.tex"])
def test_golden(make_results: Make, name: str) -> None:
    text = read(make_results(), name)
    path = GOLDEN / name
    if os.environ.get("STEMBENCH_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_returns_the_files(make_results: Make) -> None:
    paths = write_tables(make_results())
    assert [p.name for p in paths] == [
        f"{name}.{kind}" for name in ("main", "comparison", "factors") for kind in ("md", "tex")
    ]
    assert all(path.stat().st_size for path in paths)
    assert not list(paths[0].parent.glob(".*"))


def test_marks_follow_the_verdicts(make_results: Make) -> None:
    results = make_results(datasets={"movielens": ("like",)})
    verdicts = {"single_task": "better", "shared_bottom": "worse", "mmoe": "equivalent"}

    def change(table: pd.DataFrame) -> pd.DataFrame:
        table["verdict"] = table["model_b"].map(verdicts).fillna("inconclusive")
        return table

    edit(results, "comparison", change)
    text = read(results)
    signs = [rows_of(text, names.model(m))[0].split("|")[2].strip()[-1] for m in (*verdicts, "ple")]
    assert signs[:3] == ["↓", "↑", "≈"]
    assert signs[3].isdigit()
    assert "\\*" not in rows_of(text, "STEM")[0]


def test_star_needs_every_other_model(make_results: Make) -> None:
    results = make_results(datasets={"movielens": ("like",)})
    edit(results, "comparison", lambda table: table.assign(verdict="better"))
    assert "\\*" in rows_of(read(results), "STEM")[0]
    # One that could not be compared takes it away, also when its row is not there at all.
    edit(results, "comparison", lambda table: table[table["model_b"] != "ple"])
    assert "\\*" not in rows_of(read(results), "STEM")[0]
    assert "| like | PLE | n/a |" in read(results, "comparison.md")


def test_best_is_bold_and_second_underlined(make_results: Make) -> None:
    results = make_results(datasets={"movielens": ("like",)})
    means = dict(
        zip(["single_task", "shared_bottom", "mmoe", "ple", "stem"], range(5), strict=True)
    )

    def change(table: pd.DataFrame) -> pd.DataFrame:
        table["mean"] = 0.5 + table["model"].map(means) / 100
        return table

    edit(results, "metrics", change)
    text = read(results)
    assert "**0.5400**" in rows_of(text, "STEM")[0]
    assert "<u>0.5300</u>" in rows_of(text, "PLE")[0]
    assert text.count("**0.") + text.count("**1.") == 4  # one for each of four columns
    # Low is good for log loss; for calibration the distance from 1 counts.
    assert "**0.5000**" in rows_of(text, "Single-Task")[1]
    assert "**0.540**" in rows_of(text, "STEM")[1]


def test_tied_best_are_both_bold_and_no_second(make_results: Make) -> None:
    results = make_results(datasets={"movielens": ("like",)}, models=("ple", "mmoe", "stem"))
    edit(results, "metrics", lambda t: t.assign(mean=t["model"].map({"ple": 0.6}).fillna(0.7)))
    text = read(results)
    assert rows_of(text, "STEM")[0].count("**0.7000**") == 2
    assert rows_of(text, "MMoE")[0].count("**0.7000**") == 2
    assert "<u>" not in rows_of(text, "PLE")[0]


def test_never_looks_complete_when_it_is_not(make_results: Make) -> None:
    results = make_results(not_ok=GAPS)
    text = read(results)
    assert "Incomplete: 67 of 75 cells" in text.split("## ")[0]
    assert "(3 of 5 seeds)" in rows_of(text, "PLE")[2]
    assert "(4 of 5 seeds)" in rows_of(text, "MMoE")[2]
    assert rows_of(text, "MMoE")[1].count("missing") == 4
    assert "- movielens / ple, seeds 76, 525: no finished run" in text
    assert "- movielens / mmoe, seed 42: run made with other settings" in text
    comparison = read(results, "comparison.md")
    assert "(3 of 5 seeds)" in comparison
    assert "| click | MMoE | n/a |" in comparison
    tex = read(results, "main.tex")
    assert r"{\tiny (3 of 5)}" in tex
    assert r"\noindent\textbf{Incomplete" in tex
    assert "movielens / ple, seeds 76, 525" in tex


def test_a_data_set_without_any_run_is_named(make_results: Make) -> None:
    gaps = {
        ("movielens", model, seed): "missing"
        for model in ("single_task", "shared_bottom", "mmoe", "ple", "stem")
        for seed in (2023, 76, 525, 728, 42)
    }
    results = make_results(not_ok=gaps)
    assert "missing: no run of this data set counts." in read(results)
    assert "missing: nothing to compare." in read(results, "comparison.md")


def test_one_missing_seed_is_read_as_a_seed(make_results: Make) -> None:
    # pandas would make 76.0 of a column that holds "76" and blanks.
    results = make_results(not_ok={("movielens", "ple", 76): "missing"})
    assert "movielens / ple, seed 76: no finished run" in read(results)


def test_one_seed_has_no_sd(make_results: Make) -> None:
    results = make_results(datasets={"movielens": ("like",)}, seeds=(1,))
    text = read(results)
    assert all("±" not in row and "nan" not in row for row in rows_of(text, "STEM"))
    assert "nan" not in read(results, "comparison.md")


def test_oracle_row_and_its_alarm(make_results: Make) -> None:
    text = read(make_results("fine"))
    assert text.count(names.ORACLE) == 4  # two synthetic data sets, two tables each
    assert "FAULT" not in text
    results = make_results("leak", passed_by="ple;stem")
    assert "FAULT on Synthetic (conflict)" in read(results).split("## ")[0]
    assert "PLE and STEM on task click" in read(results, "comparison.md")
    assert r"\textbf{FAULT" in read(results, "main.tex")


def test_provenance_stands_under_the_table(make_results: Make) -> None:
    results = make_results(factors=True)
    for path in write_tables(results):
        text = path.read_text(encoding="utf-8")
        assert "stembench compare --suite demo" in text
        assert "75 of 75 cells" in text
        assert re.search(r"fingerprint [0-9a-f]{12}\b", text)
        assert re.search(r"movielens\\?_t1 \([0-9a-f]{12}\)", text)


def check_tex(text: str) -> None:
    """Braces balance, environments nest, and each row has its table's number of columns."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[\\{}%&#_$]", "", body)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert body.isascii()
    open_environments: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", body):
        if kind == "begin":
            open_environments.append(name)
        else:
            assert open_environments.pop() == name
    assert not open_environments
    for spec, table in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, re.S):
        for line in table.splitlines():
            if not line.endswith(r"\\"):
                continue
            spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            cells = len(re.findall(r"(?<!\\)&", line)) + 1
            assert cells + sum(spans) - len(spans) == len(spec), line


@pytest.mark.parametrize("options", [{}, {"not_ok": GAPS, "passed_by": "stem"}, STRANGE])
def test_latex_is_well_formed(make_results: Make, options: dict[str, object]) -> None:
    results = complete(make_results(**options))
    for path in [*write_tables(results), *write_side_tables(results)]:
        if path.suffix == ".tex":
            check_tex(path.read_text(encoding="utf-8"))


def typeset(folder: Path, body: str) -> str | None:
    """Typeset a document with the one package that the tables need; the log if that fails."""
    document = folder / "document.tex"
    document.write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        f"{body}\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stdout[-2000:]


@cache
def missing_tex() -> str | None:
    """Why tables cannot be typeset here; None where one is."""
    if shutil.which("pdflatex") is None:
        return "pdflatex is not here: install texlive-latex-recommended"
    with TemporaryDirectory() as folder:
        log = typeset(Path(folder), "\\begin{tabular}{l}\\toprule a\\\\ \\end{tabular}\n")
    return log and f"pdflatex does not work, install texlive-latex-recommended: {log[-200:]}"


@pytest.mark.parametrize("options", [{}, {"not_ok": GAPS, "passed_by": "stem"}, STRANGE])
def test_latex_compiles(make_results: Make, tmp_path: Path, options: dict[str, object]) -> None:
    if reason := missing_tex():
        pytest.skip(reason)
    results = complete(make_results(**options))
    names = [p.name for p in [*write_tables(results), *write_side_tables(results)]]
    inputs = "".join(f"\\input{{results/demo/tables/{n}}}\n" for n in names if n.endswith(".tex"))
    assert typeset(tmp_path, inputs) is None


def test_strange_ids_are_escaped(make_results: Make) -> None:
    text = read(make_results(**STRANGE))
    header = next(line for line in text.splitlines() if line.startswith("| Model"))
    rule = text.splitlines()[text.splitlines().index(header) + 1]
    assert len(re.findall(r"(?<!\\)\|", header)) == rule.count("|")
    assert escape("a|b*c<u>") == "a\\|b\\*c\\<u>"
    assert latex.escape("50%_#") == r"50\%\_\#"


@pytest.mark.parametrize("name", ["inputs.json", "cells.csv", "oracle.csv"])
def test_a_table_that_is_not_there(make_results: Make, name: str) -> None:
    results = make_results()
    (results / "tables" / name).unlink()
    with pytest.raises(StembenchError, match=f"{name} is not there: run `stembench compare"):
        write_tables(results)


def test_a_table_that_is_damaged(make_results: Make) -> None:
    results = make_results()
    edit(results, "metrics", lambda table: table.drop(columns="sd"))
    with pytest.raises(StembenchError, match="lacks the columns sd"):
        write_tables(results)
    edit(results, "metrics", lambda table: table.assign(sd="much"))
    with pytest.raises(StembenchError, match="column sd"):
        write_tables(results)
    (results / "tables" / "inputs.json").write_text("{")
    with pytest.raises(StembenchError, match=r"inputs\.json cannot be read"):
        write_tables(results)


def test_cost_and_calibration_name_what_is_missing(make_results: Make) -> None:
    results = complete(make_results(not_ok=GAPS))
    written = {p.name: p.read_text(encoding="utf-8") for p in write_side_tables(results)}
    assert list(written) == ["cost.md", "cost.tex", "calibration.md", "calibration.tex"]
    # MMoE has no run on the second data set: a row of its own says so.
    cost = written["cost.md"].split("## ")[2].splitlines()
    assert "| MMoE | 0 | missing |" in "\n".join(cost)
    assert sum(line.startswith("| ") for line in cost) == 2 + 5
    table = pd.read_csv(results / "tables/calibration.csv", dtype={"bin": str})
    row = table.query(
        "dataset == 'movielens' and task == 'like' and model == 'ple' and bin == 'all'"
    )
    line = next(x for x in written["calibration.md"].split("## ")[3].splitlines() if "| PLE |" in x)
    assert f"{row['gap'].iloc[0]:.4f}" == line.split("|")[3].strip()
    assert "missing & missing" in written["calibration.tex"]
    assert "cells" in written["cost.tex"].split("% ")[3]


@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        ([2023, 76, 525], "3 seeds (2023, 76, 525)"),
        ([1, 2, 3], "3 seeds (1, 2, 3)"),
        (list(range(300001, 300201)), "200 seeds (300001 to 300200)"),
        ([1, 2, 3, 4, 5, 7], "6 seeds (1, 2, 3, 4, 5, 7)"),
    ],
)
def test_many_seeds_in_a_row_are_a_range(seeds: list[int], told: str) -> None:
    results = SimpleNamespace(inputs={"seeds": seeds})
    assert content.seeds_line(results) == f"Mean ± SD over {told}."
