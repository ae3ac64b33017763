"""Copy the AUC tables of results/demo into README.md, between its two markers."""

import json
from pathlib import Path

BEGIN, END = "<!-- demo: begin -->\n", "<!-- demo: end -->"

readme = Path("README.md")
text = readme.read_text()
produced = Path("results/demo/tables/main.md").read_text()
fingerprint = json.loads(Path("results/demo/tables/inputs.json").read_text())["inputs_sha256"]
tables = produced.split("## Marks")[0].split("\n## ", 1)[1]
# One level below the README's own sections.
shown = "\n### " + tables.replace("\n## ", "\n### ").strip() + "\n\n"
shown += f"Runs with fingerprint {fingerprint[:12]}.\n\n"
head, rest = text.split(BEGIN)
readme.write_text(head + BEGIN + shown + END + rest.split(END)[1])
