"""Whether the programs that torch's compiler calls are here and work: found out by doing.

A compiler may be installed without the headers of Python or the library of OpenMP that compiled
steps need, so that its name on PATH says too little.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

_PYTHON = "#include <Python.h>\n"
_OPENMP = "#include <omp.h>\n"
_FUNCTION = "int threads() { return PY_VERSION_HEX > 0%s; }\n"


@cache
def missing_for_cpu() -> str | None:
    """What compiled steps on a CPU lack, with the package to install; None if nothing.

    Inductor calls `$CXX`, else g++, and its code includes Python.h and is linked to OpenMP.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return "a C++ compiler: install g++, or name another one by the environment variable CXX"
    code = _PYTHON + _OPENMP + _FUNCTION % " && omp_get_max_threads()"
    return _failure(compiler, ".cpp", code, ["-fopenmp"], "libgomp, which comes with g++")


@cache
def missing_for_gpu() -> str | None:
    """What compiled steps on a GPU lack, with the package to install; None if nothing.

    Triton compiles its launcher by `$CC`, else gcc or clang, and includes Python.h.
    """
    names = (os.environ["CC"],) if os.environ.get("CC") else ("gcc", "clang")
    compiler = next((name for name in names if shutil.which(name)), None)
    if compiler is None:
        return "a C compiler: install gcc, or name another one by the environment variable CC"
    return _failure(compiler, ".c", _PYTHON + _FUNCTION % "", [], "a compiler that makes libraries")


def _failure(
    compiler: str, suffix: str, code: str, options: list[str], otherwise: str
) -> str | None:
    """Compile a library of three lines; what to install if that fails."""
    with tempfile.TemporaryDirectory(prefix="stembench-") as folder:
        source = Path(folder, f"probe{suffix}")
        source.write_text(code)
        include = f"-I{sysconfig.get_path('include')}"
        command = [compiler, "-shared", "-fPIC", include, *options, str(source)]
        try:
            done = subprocess.run(
                [*command, "-o", str(source.with_suffix(".so"))],
                capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"a {compiler} that works ({error})"
    if done.returncode == 0:
        return None
    if "Python.h" in done.stderr:
        return "the headers of Python (Python.h): install python3-dev"
    first = next((line for line in done.stderr.splitlines() if "error" in line), "no message")
    return f"{otherwise} ({compiler}: {first.strip()})"
