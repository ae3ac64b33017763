"""Peak memory of a cell against its bound: data, four copies of the parameters, one batch.

    python -m benchmarks.memory

Cells with small and with large tables, otherwise alike: what they differ by, over what their
parameters differ by, is how often a cell holds its parameters. Four are weights, gradients and
Adam's two moments. In the same way, bytes for each further row of a part. Memory hardly depends on
what else the machine does. Writes results/benchmarks/memory.csv and .md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import cells
from benchmarks.output import command, save

#: `select` of params.yaml: one checkpoint, one a task, and both read from one training.
SELECT = {"metric": "auc", "over": "mean", "both": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "dense, one checkpoint": {},
    "dense, both selection rules": {"select": SELECT | {"both": True}},
    "dense, without diagnostics": {"diagnostics": False},
    "dense, precision auto": {"precision": "auto"},
    "rows of the batch": {"embedding_optimizer": "rows"},
}
MIB = 1024**2


def peak(project: Path, model: str, **train: Any) -> tuple[float, int]:
    """Peak memory in bytes, and the number of parameters, of a cell of some epochs."""
    run = cells.train(cells.spec(model, epochs=3, patience=3, **train), project).run
    return run["peak_memory_mb"] * MIB, run["parameters"]["total"]


def of_parameters(
    project: Path, models: list[str], tables: tuple[int, int], rows: int
) -> list[dict[str, Any]]:
    """Copies of the parameters that each model and variant holds at its peak."""
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for size in tables:
        counts = {"train": rows, "valid": rows // 4, "test": rows // 4}
        cells.write_split(project, cells.schema(size), counts)
        for model in models:
            for variant, settings in VARIANTS.items():
                found.setdefault((model, variant), []).append(peak(project, model, **settings))
    return [
        {
            "what": f"{model}, {variant}",
            "from": f"{tables[0]:,} rows of tables",
            "to": f"{tables[1]:,}",
            "peak_mb": large / 1e6,
            "more_mb": (large - small) / 1e6,
            "each": (large - small) / (4 * (many - few)),
            "unit": "copies of the parameters",
        }
        for (model, variant), [(small, few), (large, many)] in found.items()
    ]


def of_rows(project: Path, model: str, sizes: tuple[int, int]) -> list[dict[str, Any]]:
    """Bytes at the peak for each further row of a part."""
    found = []
    for part in ("train", "valid", "test"):
        peaks = []
        for size in sizes:
            counts = {"train": sizes[0], "valid": sizes[0], "test": sizes[0]} | {part: size}
            cells.write_split(project, cells.schema(20_000), counts)
            peaks.append(peak(project, model)[0])
        more = peaks[1] - peaks[0]
        found.append(
            {
                "what": f"{model}, rows of {part}",
                "from": f"{sizes[0]:,} rows",
                "to": f"{sizes[1]:,}",
                "peak_mb": peaks[1] / 1e6,
                "more_mb": more / 1e6,
                "each": more / (sizes[1] - sizes[0]),
                "unit": "bytes a row",
            }
        )
    return found


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["shared_bottom", "stem"])
    parser.add_argument("--tables", type=int, nargs=2, default=(20_000, 2_000_000))
    parser.add_argument("--table-rows", type=int, default=16_384, help="training rows beside them")
    parser.add_argument("--rows", type=int, nargs=2, default=(50_000, 1_000_000))
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stembench-") as folder:
        project = Path(folder)
        found = of_parameters(project, options.models, tuple(options.tables), options.table_rows)
        found += of_rows(project, options.models[-1], tuple(options.rows))
    shown = [
        [r["what"], r["from"], r["to"], f"{r['peak_mb']:,.0f}", f"{r['more_mb']:,.0f}",
         f"{r['each']:.2f} {r['unit']}"]
        for r in found
    ]  # fmt: skip
    text = (
        "Peak memory of a cell's process; `more`: than the cell that differs in the size named "
        "alone. A row of the files has 8 ids, a user (4 bytes each) and 2 labels, 38 bytes; the "
        "files are mapped, so that pages read count here and can be dropped by the system."
    )
    columns = ["cell", "from", "to", "peak MB", "more MB", "that is"]
    page = cells.page(
        "Memory of a cell",
        command("memory"),
        text,
        "",
        [cells.table(columns, shown)],
    )
    save(options.out, "memory", found, page)


if __name__ == "__main__":
    main()
