"""Float32 products of a linear layer by the libraries at hand: is `stembench.models.linear` right?

    python -m benchmarks.products

For layers of several sizes the output, the gradient of the input and that of the weights, by
torch's own choice (MKL on x86), by oneDNN and by numpy (OpenBLAS), taking turns in one process on
one thread. Writes results/benchmarks/products.csv and .md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.cells import page, table
from benchmarks.output import command, save
from stembench.models.linear import LARGE, prefers_onednn, times_transposed

#: Rows, inputs and outputs of a layer.
SIZES = (
    (4096, 512, 512), (4096, 128, 512), (1024, 512, 512), (4096, 128, 64), (2048, 136, 64),
    (1024, 64, 64), (1024, 64, 32), (256, 64, 64), (256, 64, 16),
)  # fmt: skip


def products(rows: int, inputs: int, outputs: int) -> dict[str, dict[str, Callable[[], Any]]]:
    """What is computed -> library -> the product."""
    x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs)
    slope, bias = torch.randn(rows, outputs), torch.randn(outputs)
    nx, nw, ns, nb = (part.numpy() for part in (x, weight, slope, bias))
    return {
        "output": {
            "torch": lambda: torch.addmm(bias, x, weight.t()),
            "oneDNN": lambda: times_transposed(x, weight, bias),
            "numpy": lambda: nx @ nw.T + nb,
        },
        "to inputs": {
            "torch": lambda: slope @ weight,
            "oneDNN": lambda: times_transposed(slope, weight.t()),
            "numpy": lambda: ns @ nw,
        },
        "to weights": {
            "torch": lambda: slope.t() @ x,
            "oneDNN": lambda: times_transposed(slope.t(), x.t()),
            "numpy": lambda: ns.T @ nx,
        },
    }


def measure(sizes: list[tuple[int, int, int]], seconds: float) -> list[dict[str, Any]]:
    """A row per size and product: median rates in GFLOP/s of about `seconds` each."""
    found = []
    for size in sizes:
        operations = 2 * size[0] * size[1] * size[2]
        for what, libraries in products(*size).items():
            times: dict[str, list[float]] = {name: [] for name in libraries}
            begun = time.perf_counter()
            rounds = 0
            while rounds < 5 or time.perf_counter() - begun < seconds:
                for name, product in libraries.items():
                    start = time.perf_counter()
                    product()
                    if rounds:
                        times[name].append(time.perf_counter() - start)
                rounds += 1
            rates = {n: operations / statistics.median(t) / 1e9 for n, t in times.items()}
            found.append(
                {"rows": size[0], "inputs": size[1], "outputs": size[2], "mflop": operations / 1e6}
                | {"product": what}
                | rates
                | {"ratio": rates["oneDNN"] / rates["torch"]}
            )
    return found


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each product")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(list(SIZES), options.seconds)
    shown = [
        [f"{r['rows']} x {r['inputs']} x {r['outputs']}", r["product"], f"{r['mflop']:,.1f}",
         *(f"{r[name]:.0f}" for name in ("torch", "oneDNN", "numpy")), f"{r['ratio']:.2f}"]
        for r in rows
    ]  # fmt: skip
    chosen = "is" if prefers_onednn() else "is not"
    text = (
        f"Float32, one thread; medians in GFLOP/s. oneDNN {chosen} taken here from "
        f"{LARGE / 1e6:g} MFLOP on; `ratio`: oneDNN to torch."
    )
    columns = ["rows x inputs x outputs", "product", "MFLOP", "torch", "oneDNN", "numpy", "ratio"]
    sheet = page(
        "Products of linear layers", command("products"), text, "",
        [table(columns, shown)],
    )  # fmt: skip
    save(options.out, "products", rows, sheet)


if __name__ == "__main__":
    main()
