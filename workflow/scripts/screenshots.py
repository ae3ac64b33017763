"""Take the README's pictures of a report with headless Chromium, into docs/images.

python workflow/scripts/screenshots.py [results/demo/report.html]
"""

from __future__ import annotations

import sys
from pathlib import Path

from chromium import Browser, BrowserError

OUT = Path("docs/images")
#: Name -> width, height, pixels per CSS pixel, colour scheme, what is at the top.
PICTURES = {
    "report": (1200, 900, 1.5, "light", ""),
    "report_dark": (1200, 900, 1.5, "dark", "comparison"),
    "report_run": (1200, 900, 1.5, "light", "details.run"),
    "report_phone": (390, 844, 2.0, "light", "main"),
}

LAST = """(() => { const last = [...document.querySelectorAll("details.run")].at(-1);
  last.open = true; last.scrollIntoView(); })()"""


def main(page: Path) -> None:
    """Write the pictures; a page that has faults gets none."""
    OUT.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        for name, (width, height, scale, scheme, top) in PICTURES.items():
            browser.window(width, height, scale, phone=width < 500)
            browser.media(scheme)
            browser.open(page)
            if faults := browser.faults():
                raise BrowserError(f"{page}: {'; '.join(faults)}")
            if top == "details.run":  # the last one: it has to be opened first
                browser.run(LAST)
            elif top:
                browser.run(f"document.getElementById({top!r}).scrollIntoView()")
            browser.picture(OUT / f"{name}.png")
            print(OUT / f"{name}.png")  # noqa: T201


if __name__ == "__main__":
    report = Path(sys.argv[1] if len(sys.argv) > 1 else "results/demo/report.html")
    if not report.exists():
        sys.exit(f"{report} is not there: run `snakemake --cores 8 --config suite=demo` first")
    main(report)
