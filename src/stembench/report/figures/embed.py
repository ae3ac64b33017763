"""Figures on the page: an SVG file as part of it, or the word that it is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup

from stembench.report.results import Results


@dataclass(frozen=True)
class Figure:
    """A picture of the report; svg is None where the file is not there."""

    key: str
    title: str
    label: str
    caption: str
    svg: Markup | None


def inline_svg(text: str, prefix: str) -> Markup:
    """An SVG file as an element of an HTML page; `prefix` keeps ids of several pictures apart.

    For files that this project has drawn: the text is trusted.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id=")', rf"\g<1>{prefix}-", text)
    text = re.sub(r'((?:xlink:)?href="|url\()#', rf"\g<1>#{prefix}-", text)
    text = re.sub(r"\n\s*", "\n", text)
    # The element scales with the page; its viewBox keeps the proportions.
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", head)
    return Markup(f'{head} aria-hidden="true" focusable="false">{rest}')


def figure(results: Results, key: str, title: str, label: str, caption: str) -> Figure:
    """The file figures/<key>.svg with its title, the words read in its place, and its caption."""
    path = results.root / "figures" / f"{key}.svg"
    try:
        svg = inline_svg(path.read_text(encoding="utf-8"), key)
    except (OSError, ValueError):
        svg = None
    return Figure(key, title, label, caption, svg)
