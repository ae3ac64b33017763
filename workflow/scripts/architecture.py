"""Write the table and the picture of docs/architecture.md from the code: docstrings and imports.

python workflow/scripts/architecture.py          write them
python workflow/scripts/architecture.py --check  end with 1 if they are out of date
"""

import ast
import sys
from pathlib import Path

PACKAGE = Path("src/stembench")
PAGE = Path("docs/architecture.md")
BEGIN, END = "<!-- made by workflow/scripts/architecture.py: begin -->\n", "<!-- end -->\n"


def unit(path: Path) -> str:
    """The folder or module directly below the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree(path: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"))


def describe(name: str) -> str:
    """First sentence of the docstring of a folder or module."""
    path = PACKAGE / name / "__init__.py"
    path = path if path.exists() else PACKAGE / f"{name}.py"
    return " ".join((ast.get_docstring(tree(path)) or "").split()).split(". ")[0].rstrip(".")


def imported(path: Path) -> set[str]:
    """The units that a file imports, those inside functions included."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stembench"):
            inner = (node.module or "").split(".")[1:]
            found |= {inner[0]} if inner else {alias.name for alias in node.names}
    return found


def generated() -> str:
    """Table and picture; the lines of the picture leave out what nearly all import."""
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if not unit(path).startswith("__")]
    units = sorted({unit(path) for path in files})
    needs = {name: set[str]() for name in units}
    for path in files:
        needs[unit(path)] |= imported(path) & set(units) - {unit(path)}
    users = {name: sum(name in others for others in needs.values()) for name in units}
    ground = {name for name in units if not needs[name] and users[name] > 3}
    rows = [
        f"| `{name}` | {describe(name)} | {', '.join(sorted(needs[name])) or 'nothing'} |"
        for name in units
    ]
    arrows = [
        f"    {name} --> {other}"
        for name in units
        if name != "cli"
        for other in sorted(needs[name] - ground)
    ]
    return "\n".join(
        [
            "| part | what it is | imports |", "|---|---|---|", *rows, "",
            f"In the picture `cli`, which imports everything, and {', '.join(sorted(ground))}, "
            "which most parts import, are left out.", "",
            "```mermaid", "flowchart TD", *arrows, "```", "",
        ]
    )  # fmt: skip


text = PAGE.read_text(encoding="utf-8")
head, rest = text.split(BEGIN)
new = head + BEGIN + generated() + END + rest.split(END)[1]
if "--check" in sys.argv:
    sys.exit(0 if new == text else f"{PAGE} is out of date: python {sys.argv[0]}")
PAGE.write_text(new, encoding="utf-8")
