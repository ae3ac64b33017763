"""The data card in the terminal."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from stembench.report import names
from stembench.report.cards import facts as card
from stembench.report.cards.facts import Facts, Grid

_BAR = 24


def print_card(facts: Facts, console: Console | None = None) -> None:
    """Print the card of `facts` (see `data.card.facts`) to the terminal, or as text into a pipe."""
    console = console or Console(highlight=False)
    console.print(_page(facts))


def _page(facts: Facts) -> RenderableType:
    about = names.describe(facts["dataset"])
    head = Text(f"{about.name} ({facts['dataset']})", style="bold")
    lines = [head, Text(f"split {card.rule_line(facts)}"), Text(f"sha256 {facts['sha256']}")]
    if kind := card.kind_line(facts):
        lines.append(Text(kind, style="yellow"))
    facts_table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in card.key_facts(facts):
        facts_table.add_row(Text(name, style="cyan"), Text(value))
    notes = [Text(card.items_line(facts), style="dim")]
    histogram = card.histogram_grid(facts)
    top = max((step["users"] for step in facts["activity"]["histogram"]), default=1)
    for row, step in zip(histogram.rows, facts["activity"]["histogram"], strict=True):
        row.append("█" * round(_BAR * step["users"] / top))
    histogram.header.append("")
    return Group(
        *lines,
        Text(""),
        facts_table,
        *_tables([card.parts_grid(facts)]),
        *notes,
        *_tables(
            [
                card.users_grid(facts),
                Grid(histogram.title, histogram.header, histogram.rows, (0, 4)),
                card.pairs_grid(facts),
                card.fields_grid(facts),
                card.days_grid(facts),
                card.left_out_grid(facts),
                card.sources_grid(facts),
            ]
        ),
        *map(Text, card.archive_lines(facts)),
    )


def _tables(grids: list[Grid]) -> list[RenderableType]:
    tables: list[RenderableType] = []
    for grid in grids:
        if not grid.rows:
            continue
        table = Table(title=grid.title, title_justify="left", title_style="bold", box=None)
        for i, title in enumerate(grid.header):
            left = i in grid.text
            table.add_column(Text(title), justify="left" if left else "right", overflow="fold")
        for row in grid.rows:
            table.add_row(*map(Text, row))
        tables += [Text(""), table]
    return tables
