"""The report of a large grid as a browser shows it: headless Chromium over its DevTools pipe."""

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from stembench.report.gallery import write_figures, write_gallery
from stembench.report.page import write_report
from stembench.report.sections.run_details import anchor
from tests.conftest import ROOT
from tests.report.full import complete

Make = Callable[..., Path]
TASKS = {"movielens": ("like", "love", "dislike"), "synthetic_null": ("click", "like")}
MODELS = ("stem", "single_task_matched_wide", *(f"model_{i}" for i in range(13)))
#: One seed of a model, and a whole model on a data set.
GAPS = {("movielens", "model_1", 2): "damaged"} | {
    ("synthetic_null", "model_2", seed): "missing" for seed in range(1, 6)
}
#: Visible things that reach past the right edge of the page, other than inside what scrolls.
WIDE = """[...document.body.querySelectorAll("*")].filter((e) => !e.closest(".scroll, pre, .hidden")
  && e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 0.5)
  .map((e) => e.tagName + "." + e.className)"""
COLUMN = """[...document.querySelectorAll("#main table.sortable tbody")][0].rows"""


def _load(name: str) -> ModuleType:
    path = ROOT / f"workflow/scripts/{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


chromium = _load("chromium")
screenshots = _load("screenshots")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, generate: Make) -> Path:
    """Two data sets × 15 models × 5 seeds, with gaps and every figure."""
    root = tmp_path_factory.mktemp("results") / "grid"
    seeds = (1, 2, 3, 4, 5)
    generate(root, datasets=TASKS, models=MODELS, seeds=seeds, not_ok=GAPS, histories=True)
    complete(root)
    write_figures(root)
    write_gallery(root)
    return write_report(root)


@pytest.fixture(scope="module")
def chromium_works() -> None:
    """Tried when a test needs it: collecting the tests starts no program."""
    if reason := chromium.missing():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def browser(chromium_works: None) -> Iterator:
    with chromium.Browser() as found:
        yield found


@pytest.fixture
def opened(browser, page: Path):
    """The page, freshly loaded, light, 1200 px wide."""
    browser.window(1200, 900)
    browser.media()
    browser.open(page)
    return browser


def test_the_page_of_a_large_grid_stays_under_five_megabytes(page: Path) -> None:
    text = page.read_text()
    assert text.count('<details class="run"') == 30
    assert text.count("<polyline") == 15 * 5 * (3 + 2) - 3 - 5 * 2  # less the gaps
    assert text.count("Missing: figures/") == 0
    assert len(text.encode()) < 5_000_000
    # What a run adds, without the figures: so that more seeds do not pass it soon either.
    details = text[text.index('<section id="runs"') : text.index('<section id="provenance"')]
    assert len(details.encode()) / 150 < 6_000


def test_no_errors_and_nothing_is_fetched(opened, page: Path) -> None:
    assert opened.faults() == []
    assert opened.requests() == [page.as_uri()]


def test_faults_are_seen(browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<img src='absent.png'><script>console.error('x'); setTimeout(() => nothing())</script>"
    )
    browser.open(bad)
    assert {fault.split(":")[0] for fault in browser.faults()} >= {"console", "request"}
    assert len(browser.requests()) == 2


def test_a_click_on_a_title_sorts(opened) -> None:
    def column(i: int) -> list[str]:
        found: list[str] = opened.run(
            f"[...{COLUMN}].map((row) => row.cells[{i}].dataset.sort ?? row.cells[{i}].textContent)"
        )
        return found

    def click(i: int) -> str:
        return str(
            opened.run(
                f"(() => {{ const table = document.querySelector('#main table.sortable');"
                f"const head = [...table.querySelectorAll('thead th')].filter("
                f"(h) => h.querySelector('button'))[{i}]; head.querySelector('button').click();"
                f"return head.getAttribute('aria-sort'); }})()"
            )
        )

    before = column(1)
    assert len(before) == 15
    values = sorted(map(float, before))
    assert list(map(float, before)) != values[::-1]
    assert click(1) == "descending"
    assert list(map(float, column(1))) == values[::-1]
    assert click(1) == "ascending"
    assert list(map(float, column(1))) == values
    assert click(0) == "ascending"
    names = column(0)
    assert names == sorted(names, key=str.casefold)
    assert len(set(names)) == 15


def test_missing_values_sort_last(opened) -> None:
    script = """(() => { const table = document.querySelectorAll('#main table.sortable')[1];
      const button = table.querySelectorAll('thead button')[1]; const found = [];
      for (let i = 0; i < 2; i++) { button.click();
        found.push([...table.tBodies[0].rows].map((row) => row.cells[1].dataset.sort)); }
      return found; })()"""
    for order in opened.run(script):
        assert order[-1] == ""
        assert "" not in order[:-1]


def test_every_internal_link_has_its_target(opened) -> None:
    missing = opened.run(
        """[...document.querySelectorAll('a[href^="#"]')].map((a) => a.getAttribute("href"))
        .filter((href) => !document.getElementById(href.slice(1)))"""
    )
    assert missing == []
    assert opened.run("""document.querySelectorAll("a.cell").length""") == 15 * 2 * 2 * 5


@pytest.mark.parametrize("model", ["model_3", "model_2"])  # the second has no run
def test_a_cell_opens_the_details_of_its_runs(opened, model: str) -> None:
    target = anchor("synthetic_null", model)
    state = f"""document.getElementById("{target}").open"""
    assert opened.run(state) is False
    opened.run(f"""document.querySelector('a.cell[href="#{target}"]').click()""")
    done = f"new Promise((r) => requestAnimationFrame(() => r({state})))"
    assert opened.run(done) is True
    top = opened.run(f"""document.getElementById("{target}").getBoundingClientRect().top""")
    assert -5 < top < 900
    # The same link again, after it was closed by hand.
    opened.run(f"{state} = false")
    opened.run(f"""document.querySelector('a.cell[href="#{target}"]').click()""")
    assert opened.run(done) is True
    assert opened.run("""document.querySelectorAll("details.run[open]").length""") == 1


def test_an_address_with_a_run_opens_it(browser, page: Path) -> None:
    browser.open(page, f"#{anchor('movielens', 'stem')}")
    found = browser.run("""[...document.querySelectorAll("details.run[open]")].map((d) => d.id)""")
    assert found == [anchor("movielens", "stem")]


@pytest.mark.parametrize("width", [390, 768, 1200])
def test_the_page_is_not_wider_than_the_window(opened, page: Path, width: int) -> None:
    opened.window(width, 844, phone=width < 500)
    opened.open(page)
    opened.run("""document.querySelectorAll("details").forEach((d) => { d.open = true; })""")
    assert opened.run("document.documentElement.scrollWidth") == width
    assert opened.run("innerWidth") == width
    assert opened.run(WIDE) == []


def test_dark_and_light_can_be_read(opened) -> None:
    """Text against page, by the contrast ratio of WCAG 2: 4.5 for text of any size."""
    script = """(() => { const of = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map((v) => {
        v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const page = of(getComputedStyle(document.body).backgroundColor);
      return Object.fromEntries(["body", ".quiet", "nav a", ".missing", ".question"].map((s) => {
        const text = of(getComputedStyle(document.querySelector(s)).color);
        return [s, (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05)]; })); })()"""
    background = {}
    for scheme in ("light", "dark"):
        opened.media(scheme)
        background[scheme] = opened.run("getComputedStyle(document.body).backgroundColor")
        assert {name: r for name, r in opened.run(script).items() if r < 4.5} == {}
    assert background["light"] == "rgb(255, 255, 255)"
    assert background["dark"] == "rgb(22, 23, 26)"


def test_it_prints(opened, tmp_path: Path) -> None:
    opened.media("dark")  # paper is white whatever the screen is
    opened.pdf(tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", content))
    assert 5 < pages < 60
    opened.media("dark", "print")
    assert opened.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.run("document.querySelector('nav').checkVisibility()") is False


def test_the_pictures_of_the_readme(
    chromium_works: None, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    screenshots.main(page)
    for name, (width, height, scale, *_) in screenshots.PICTURES.items():
        content = (tmp_path / "docs/images" / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        size = [int.from_bytes(content[i : i + 4], "big") for i in (16, 20)]
        assert size == [width * scale, height * scale]
        assert len(content) > 20_000  # not an empty page
    shown = (ROOT / "README.md").read_text()
    assert "docs/images/report.png" in shown
