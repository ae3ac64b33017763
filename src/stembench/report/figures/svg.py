"""Small charts as inline SVG: narrow enough for a phone, coloured by the page's style sheet.

Each returns one `<svg>` whose numbers also stand in a table beside it; `label` is read aloud in
its place. The same bytes from the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

#: Width of every chart in its own units; text is 11 of them high, so a phone shows it at 11 px.
WIDTH = 360
_ROW, _BAR, _GAP = 18, 9, 7


def _svg(height: float, label: str, body: list[str]) -> Markup:
    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {height:g}" role="img"'
    return Markup(f'{head} aria-label="{escape(label)}">{"".join(body)}</svg>')


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{name}>{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    told = f"<title>{escape(title)}</title>" if title else ""
    box = f'x="{x:.6g}" y="{y:.6g}" width="{width:.6g}" height="{height:.6g}"'
    return f'<rect {box} class="{kind}">{told}</rect>'


def bars(
    rows: Sequence[tuple[str, Sequence[tuple[float | None, str]]]], label: str, first: int = 0
) -> Markup:
    """Horizontal bars: (name, [(value, its text) per series]) a row; a value of None has no bar.

    The longest bar is the largest value. first: colour of the first series.
    """
    top = max([value or 0.0 for _, cells in rows for value, _ in cells] or [0.0]) or 1.0
    # 6 units a letter; what is left of the width is the bars'.
    left = min(150, 8 + 6 * max((len(name) for name, _ in rows), default=0))
    right = 8 + 6 * max((len(text) for _, cells in rows for _, text in cells), default=0)
    body, y = [], 2.0
    for name, cells in rows:
        height = max(_ROW, (_BAR + 2) * len(cells))
        body.append(_text(left - 6, y + height / 2 + 4, _shortened(name, left), "end"))
        for series, (value, text) in enumerate(cells):
            at = y + (height - (_BAR + 2) * len(cells)) / 2 + (_BAR + 2) * series + 1
            long = 0.0 if value is None else (WIDTH - left - right) * min(value / top, 1.0)
            body.append(
                _rect(left, at, max(long, 0.5), _BAR, f"s{series + first}", f"{name}: {text}")
            )
            body.append(_text(left + long + 4, at + _BAR - 0.5, text, kind="small"))
        y += height + _GAP
    return _svg(y, label, body)


def _shortened(name: str, left: float) -> str:
    room = int((left - 8) / 6)
    return name if len(name) <= room else f"{name[: room - 1]}…"


def columns(
    bins: Sequence[tuple[str, float, str, int]], label: str, height: float = 130.0
) -> Markup:
    """Upright bars: (name, value, its text, series) a bin; as many names as fit are written."""
    top = max((value for _, value, _, _ in bins), default=0.0) or 1.0
    step = (WIDTH - 8) / max(len(bins), 1)
    widest = max((len(name) for name, *_ in bins), default=1)
    every = max(1, -int(-(6.0 * widest + 6) // step))
    body = []
    for i, (name, value, text, series) in enumerate(bins):
        tall = (height - 16) * value / top
        x, told = 4 + i * step, f"{name}: {text}" if text else name
        body.append(_rect(x + 0.08 * step, height - tall, 0.84 * step, tall, f"s{series}", told))
        if i % every == 0:
            body.append(_text(x + step / 2, height + 13, name, "middle", "small"))
        if 5.5 * len(text) < step + 2:
            body.append(_text(x + step / 2, height - tall - 3, text, "middle", "small"))
    body.append(f'<line x1="4" x2="{WIDTH - 4}" y1="{height:g}" y2="{height:g}" class="axis"/>')
    return _svg(height + 18, label, body)


def heat(
    names: Sequence[str], cells: Sequence[Sequence[tuple[float | None, str]]], label: str
) -> Markup:
    """A square map, rows × columns of `names`: (value in [0, 1] or None, its text) a cell."""
    left = min(110, 10 + 6 * max((len(name) for name in names), default=0))
    step = (WIDTH - left - 4) / max(len(names), 1)
    tall = min(step, 44.0)
    body = [
        _text(left + (j + 0.5) * step, 12, _shortened(name, step + 8), "middle")
        for j, name in enumerate(names)
    ]
    for i, row in enumerate(cells):
        y = 20 + i * tall
        body.append(_text(left - 6, y + tall / 2 + 4, _shortened(names[i], left), "end"))
        for j, (value, text) in enumerate(row):
            x = left + j * step
            title = f"{names[i]}, {names[j]}: {text}"
            # Never so strong that the text on it could not be read.
            strength = 0.0 if value is None else 0.06 + 0.5 * min(max(value, 0.0), 1.0)
            body.append(
                _rect(x + 1, y + 1, step - 2, tall - 2, "s0", title).replace(
                    "<rect ", f'<rect fill-opacity="{strength:.3g}" ', 1
                )
            )
            body.append(_text(x + step / 2, y + tall / 2 + 4, text, "middle"))
    return _svg(24 + tall * len(names), label, body)


def critical_difference(ranked: Sequence[tuple[str, float]], width: float, label: str) -> Markup:
    """Average ranks on a line, best left; bars join models that differ by less than `width`.

    ranked: (name, average rank) of each model, in any order.
    """
    order = sorted(ranked, key=lambda model: model[1])
    left, right = 14.0, WIDTH - 14.0
    most = max(len(order), 2)

    def x(rank: float) -> float:
        return left + (right - left) * (rank - 1) / (most - 1)

    def line(x1: float, x2: float, y1: float, y2: float, thick: float = 1.0) -> str:
        ends = f'x1="{x1:.6g}" x2="{x2:.6g}" y1="{y1:.6g}" y2="{y2:.6g}"'
        return f'<line {ends} class="axis" stroke-width="{thick:g}"/>'

    body = [line(left, right, 16, 16)]
    for tick in range(1, most + 1):
        body += [line(x(tick), x(tick), 13, 19), _text(x(tick), 10, str(tick), "middle", "small")]
    y = 24.0
    joined = -1  # the last model of the bar drawn before: a bar inside it says nothing new
    for i, (_, rank) in enumerate(order):
        last = max(j for j, (_, other) in enumerate(order) if other - rank < width)
        if last > max(i, joined):
            body.append(line(x(rank) - 2, x(order[last][1]) + 2, y, y, 3))
            y, joined = y + 6, last
    y += 8
    for i, (name, rank) in enumerate(order):
        at, text = y + _ROW * i, f"{name} {rank:.2f}"
        body.append(line(x(rank), x(rank), 16, at - 4))
        room = right - x(rank) > 6 * len(text)  # to whichever side has it
        body.append(_text(x(rank) + (4 if room else -4), at, text, "start" if room else "end"))
    return _svg(y + _ROW * len(order), label, body)


def lines(
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    marks: Sequence[float | None],
    label: str,
    height: float = 96.0,
) -> Markup:
    """Thin lines, (name, [(x, y)]) each and none empty, with a dot where x is the line's mark.

    Two thirds as wide as the other charts; the axes are told by their ends alone.
    """
    xs = [x for _, points in series for x, _ in points]
    ys = [y for _, points in series for _, y in points]
    width, left, top, low = WIDTH * 2 / 3, 40.0, 8.0, height - 16
    span_x, span_y = (max(xs) - min(xs)) or 1.0, (max(ys) - min(ys)) or 1e-3

    def at(x: float, y: float) -> tuple[str, str]:
        across = left + (width - left - 8) * (x - min(xs)) / span_x
        return f"{across:.1f}", f"{low - (low - top) * (y - min(ys)) / span_y:.1f}"

    body = [
        f'<path d="M{left:g} {top:g}V{low:g}H{width - 8:g}" class="axis none"/>',
        _text(left - 4, top + 6, f"{max(ys):.3f}", "end", "small"),
        _text(left - 4, low, f"{min(ys):.3f}", "end", "small"),
        _text(left, height - 3, f"{min(xs):g}", "middle", "small"),
        _text(width - 8, height - 3, f"{max(xs):g}", "middle", "small"),
    ]
    for (name, points), mark in zip(series, marks, strict=True):
        told = f"<title>{escape(name)}</title>"
        path = " ".join(",".join(at(x, y)) for x, y in points)
        body.append(f'<polyline points="{path}" class="curve">{told}</polyline>')
        for x, y in points:
            if x == mark:
                cx, cy = at(x, y)
                body.append(f'<circle cx="{cx}" cy="{cy}" r="2.6" class="s0">{told}</circle>')
    head = f'<svg class="plot small-plot" viewBox="0 0 {width:g} {height:g}" role="img"'
    return Markup(f'{head} aria-label="{escape(label)}">{"".join(body)}</svg>')
