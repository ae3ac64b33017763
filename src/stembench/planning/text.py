"""What `stembench plan` prints."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stembench import provenance
from stembench.planning import needs as plan
from stembench.planning.needs import Data, Needs, Speed

Speeds = dict[tuple[str, str], Speed]


def print_plan(
    suite: str,
    data: list[Data],
    needs: list[tuple[Needs, int]],
    speeds: Speeds,
    cores: int,
    console: Console | None = None,
) -> None:
    """Print sizes, needs (each with its batch size) and, from `speeds`, times."""
    console = console or Console(highlight=False)
    console.print(Text(f"Suite {suite}: what it will need", style="bold"))
    console.print(Text(_hardware(cores)))
    console.print(_data_table(data))
    for line in _notes(data):
        console.print(Text(line))
    for table in _needs_tables(data, needs, speeds):
        console.print(table)
    for line in _totals(data, needs, speeds, cores):
        console.print(Text(line))


def _hardware(cores: int) -> str:
    machine = provenance.machine()
    memory = _memory()
    ram = f"{size(memory)} of memory" if memory else "memory unknown"
    free = size(shutil.disk_usage(Path.cwd()).free)
    return (
        f"This machine: {machine['cpu']}, {machine['cores']} cores ({cores} used), {ram}, "
        f"{free} of disk free"
    )


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _grid(title: str, header: list[str], words: int) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.padding = (0, 1, 0, 0)  # narrow, so that 80 columns hold it
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i < words else "right", overflow="fold")
    return table


def _data_table(data: list[Data]) -> Table:
    header = ["data set", "state", "rows", "train", "ids", "download", "raw", "split"]
    table = _grid("\nData", header, 2)
    for each in data:
        state = Text(each.state, style="red" if each.missing else "")
        rows = [f"{sum(each.rows.values()):,}", f"{each.rows['train']:,}"]
        sizes = [f"{each.schema.num_rows:,}", size(each.download), size(each.raw)]
        table.add_row(Text(each.name), state, *rows, *sizes, size(each.split))
    return table


def _notes(data: list[Data]) -> list[str]:
    lines = [
        "DVC's cache holds raw and split by links (reflink, hardlink, symlink): no second copy, "
        "unless the file system has no links."
    ]
    estimated = [each.name for each in data if each.known != "its split"]
    if estimated:
        lines.append(
            f"Not made yet, sizes from params.yaml: {', '.join(estimated)}; ids are an upper bound "
            "where rare values get none."
        )
    lines += [f"{each.name}: {told}" for each in data for told in each.assumed]
    for each in data:
        lines += [
            f"MISSING by hand, {each.name}: get {m.file} from {m.page} (licence: {m.licence}) and "
            f"put it at {' or '.join(m.places)}"
            for m in each.missing
        ]
    return lines


def _needs_tables(
    data: list[Data], needs: list[tuple[Needs, int]], speeds: Speeds
) -> Iterator[Table]:
    """A table of the models for each data set."""
    header = ["model", "embedding", "dense", "Adam", "peak RAM", "epochs"]
    header += ["rows/s", "typical", "longest"] if speeds else []
    for each in data:
        mine = [(need, batch) for need, batch in needs if need.dataset == each.name]
        seeds = mine[0][0].seeds if mine else 0
        table = _grid(f"\nA cell of {each.name} (each model has {seeds} cells)", header, 1)
        for need, batch in mine:
            cells = [f"{need.embedding:,}", f"{need.dense:,}", size(need.optimiser)]
            cells += [size(need.peak), f"{need.typical_epochs} to {need.epochs}"]
            if speeds:
                speed = speeds[need.dataset, need.model]
                typical, longest = _seconds(need, each, batch, speed)
                step = batch * speed.row_s + need.embedding * speed.table_s
                cells += [f"{batch / step:,.0f}", duration(typical), duration(longest)]
            table.add_row(Text(need.model), *cells)
        yield table


def _seconds(need: Needs, data: Data, batch: int, speed: Speed) -> tuple[float, float]:
    """(typical, longest) seconds of a cell."""
    return (
        plan.cell_seconds(need, data, batch, speed, need.typical_epochs),
        plan.cell_seconds(need, data, batch, speed, need.epochs),
    )


def _totals(
    data: list[Data], needs: list[tuple[Needs, int]], speeds: Speeds, cores: int
) -> list[str]:
    known = [each.download for each in data if each.download is not None]
    more = " and what is unknown" if len(known) < len(data) else ""
    disk = sum((each.raw or 0) + each.split for each in data)
    peak = max((need.peak for need, _ in needs), default=0)
    cells = sum(need.seeds for need, _ in needs)
    lines = [
        "Adam: gradient and two moments, beside the weights. Peak RAM also counts activations, "
        "the metrics, and the rows, which are memory-mapped and can be dropped.",
        f"In all: {cells} cells; download {size(sum(known))}{more}; disk {size(disk)} raw and "
        f"split (with the archives {size(disk + sum(known))}); RAM up to {size(peak)} a cell, "
        f"{size(cores * peak)} for {cores} at a time.",
    ]
    memory = _memory()
    if memory and cores * peak > memory:
        fit = max(memory // max(peak, 1), 0)
        lines.append(
            f"WARNING: {cores} of the largest cells at a time need more than the {size(memory)} of "
            f"memory there is: {f'use --cores {fit}' if fit else 'not even one fits'}."
        )
    if not speeds:
        return [*lines, "Times: not estimated without the calibration."]
    by_name = {each.name: each for each in data}
    times = [
        (_seconds(need, by_name[need.dataset], batch, speeds[need.dataset, need.model]), need.seeds)
        for need, batch in needs
    ]
    typical, longest = (
        plan.suite_seconds([(pair[i], seeds) for pair, seeds in times], cores) for i in (0, 1)
    )
    return [
        *lines,
        f"Time with --cores {cores}: about {duration(typical)} if a cell's best epoch is number "
        f"{plan.TYPICAL_BEST} (an assumption; small data sets take more), at most "
        f"{duration(longest)} if every cell uses all its epochs. Measured now, by a few real steps "
        "on random ids, for a machine that does nothing else. Not counted: preparation of the "
        "data, and cells that slow each other down.",
        *_busy(),
    ]


def _busy() -> list[str]:
    """A warning where other processes would take part of the time."""
    load, there = os.getloadavg()[0], os.cpu_count() or 1
    if load < 1.2 * there:
        return []
    return [
        f"WARNING: the machine is busy (load {load:.1f} on {there} cores): while it is, cells take "
        "longer than that."
    ]


def size(count: float | None) -> str:
    """`512 MB`, `1.4 GB`; `unknown` for None, `-` for nothing."""
    if count is None:
        return "unknown"
    if count == 0:
        return "-"
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{_short(count / scale)} {unit}"
    return f"{count / 1e3:.3g} kB"


def duration(seconds: float) -> str:
    """`12 s`, `3 min`, `5.2 h`, `3.1 days`."""
    for unit, scale, least in (("days", 86400, 172800), ("h", 3600, 5400), ("min", 60, 100)):
        if seconds >= least:
            return f"{_short(seconds / scale, 2)} {unit}"
    return f"{seconds:.0f} s"


def _short(value: float, digits: int = 3) -> str:
    """So many digits, and more where whole numbers have them."""
    return f"{value:.{digits}g}" if value < 10**digits - 0.5 else f"{value:,.0f}"
