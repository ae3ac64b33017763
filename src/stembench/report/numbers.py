"""Numbers and lists as words."""

from __future__ import annotations

import math


def plural(n: int, noun: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def joined(items: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def number(value: float, decimals: int = 4, sign: bool = False) -> str:
    """Fixed decimals; `n/a` where there is no value; never a negative zero."""
    if not math.isfinite(value):
        return "n/a"
    value = round(value, decimals) + 0.0
    return f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"


def p_value(value: float) -> str:
    """Four decimals, so that .0496 is not shown as .050."""
    if not math.isfinite(value):
        return "n/a"
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def interval(lo: float, hi: float) -> str:
    """Ends of a confidence interval with their signs."""
    if not (math.isfinite(lo) and math.isfinite(hi)):
        return "n/a"
    return f"[{number(lo, sign=True)}, {number(hi, sign=True)}]"
