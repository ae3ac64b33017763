"""Whose process a number is."""

from __future__ import annotations

import os
import subprocess
import sys

from stembench import processes


def test_a_process_is_known_by_its_command_line() -> None:
    words = ["stembench", "train", "movielens", "stem", "76"]
    command = [sys.executable, "-c", "import time; time.sleep(60)", *words]
    with subprocess.Popen(command) as living:
        assert processes.alive(living.pid)
        assert processes.runs(living.pid, "train", "movielens", "stem", "76")
        assert not processes.runs(living.pid, "train", "movielens", "stem", "525")
        living.kill()
    assert not processes.alive(living.pid)
    assert not processes.runs(living.pid, "train")


def test_own_and_parent_process_are_alive() -> None:
    assert processes.alive(os.getpid())
    assert processes.alive(os.getppid())
