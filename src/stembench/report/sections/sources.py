"""Where the numbers come from, code and machine by machine, and how to cite them."""

from __future__ import annotations

from typing import Any

from stembench.report import names
from stembench.report.numbers import plural
from stembench.report.results import Results
from stembench.report.sections.run_files import RunFile, read_runs

HEADER = ["Runs", "Data sets", "Commit", "Lock file", "Python", "torch", "Device", "Platform"]
#: BibTeX entries of the software and of the paper whose claims it tests.
CITATIONS = (
    """@software{stembench,
  title   = {stembench: a reproducible benchmark of multi-task recommendation models},
  author  = {{The stembench authors}},
  year    = {2026},
  version = {0.1.0},
  license = {Apache-2.0}
}""",
    """@inproceedings{su2024stem,
  title     = {{STEM}: Unleashing the Power of Embeddings for Multi-Task Recommendation},
  author    = {Su, Liangcai and Pan, Junwei and Wang, Ximei and Xiao, Xi and Quan, Shijie and
               Chen, Xihua and Jiang, Jie},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  volume    = {38},
  number    = {8},
  pages     = {9002--9010},
  year      = {2024},
  doi       = {10.1609/aaai.v38i8.28749}
}""",
)


def rows(results: Results) -> list[list[str]]:
    """A row for each combination of commit, lock file and machine that runs were made with."""
    found: dict[tuple[str, ...], list[str]] = {}
    for dataset in results.datasets:
        for model in results.models(dataset):
            for run in read_runs(results, dataset, model):
                if run.run:
                    found.setdefault(_key(run), []).append(dataset)
    lines = []
    for key, datasets in found.items():
        named = ", ".join(names.dataset(dataset) for dataset in dict.fromkeys(datasets))
        lines.append([plural(len(datasets), "run"), named, *key])
    return lines


def _key(run: RunFile) -> tuple[str, ...]:
    commit = _text(run.get("provenance", "git_commit"))
    if run.get("provenance", "git_dirty"):
        commit = f"{commit[:12]} with changes"
    device = _text(run.get("environment", "device"))
    if device == "cpu":
        device = f"cpu ({_text(run.get('environment', 'cpu'))})"
    return (
        commit if " " in commit else commit[:12],
        _text(run.get("provenance", "lock_sha256"))[:12],
        _text(run.get("environment", "python")),
        _text(run.get("environment", "torch")),
        device,
        _text(run.get("environment", "platform")),
    )


def _text(value: Any) -> str:
    return "unknown" if value is None else str(value)
