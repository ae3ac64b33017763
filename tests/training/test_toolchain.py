"""The compiler's probe: compilers of every degree of completeness, as shell scripts on PATH."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stembench.training import toolchain

Make = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Puts a script of that name on a PATH that holds nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    for probe in (toolchain.missing_for_cpu, toolchain.missing_for_gpu):
        monkeypatch.setattr(toolchain, probe.__name__, probe.__wrapped__)

    def make(name: str, body: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)

    return make


def test_no_compiler(program: Make) -> None:
    assert "install g++" in str(toolchain.missing_for_cpu())
    assert "install gcc" in str(toolchain.missing_for_gpu())


def test_a_compiler_that_works(program: Make) -> None:
    program("g++", "exit 0")
    program("clang", "exit 0")
    assert toolchain.missing_for_cpu() is None
    assert toolchain.missing_for_gpu() is None


def test_a_compiler_without_the_headers_of_python(program: Make) -> None:
    for name in ("g++", "gcc"):
        program(name, "echo 'fatal error: Python.h: No such file or directory' >&2; exit 1")
    for missing in (toolchain.missing_for_cpu(), toolchain.missing_for_gpu()):
        assert missing == "the headers of Python (Python.h): install python3-dev"


def test_a_compiler_without_openmp_is_quoted(program: Make) -> None:
    program("g++", "echo 'error: omp.h not found' >&2; exit 1")
    assert "libgomp" in str(toolchain.missing_for_cpu())
    assert "omp.h not found" in str(toolchain.missing_for_cpu())


def test_the_variable_cxx_names_the_compiler(
    program: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("g++", "exit 1")
    program("mine", "exit 0")
    monkeypatch.setenv("CXX", "mine")
    assert toolchain.missing_for_cpu() is None
