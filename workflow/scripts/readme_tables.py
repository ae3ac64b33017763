"""Copy the AUC tables of results/demo into README.md, between its two markers."""

from pathlib import Path

BEGIN, END = "<!-- demo: begin -->\n", "<!-- demo: end -->"

readme = Path("README.md")
text = readme.read_text()
produced = Path("results/demo/tables/main.md").read_text()
tables = produced.split("## Marks")[0].split("\n## ", 1)[1]
# One level below the README's own sections.
shown = "\n### " + tables.replace("\n## ", "\n### ").strip() + "\n\n"
head, rest = text.split(BEGIN)
readme.write_text(head + BEGIN + shown + END + rest.split(END)[1])
