"""Whose process a number is."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from stembench import processes


def test_a_process_is_known_by_its_command_line() -> None:
    words = ["stembench", "train", "movielens", "stem", "76"]
    command = [sys.executable, "-c", "import time; time.sleep(60)", *words]
    with subprocess.Popen(command) as living:
        assert processes.alive(living.pid)
        deadline = time.monotonic() + 10
        while not (own := processes.runs(living.pid, "train", "movielens", "stem", "76")):
            assert time.monotonic() < deadline  # between fork and exec the line is the parent's
            time.sleep(0.01)
        assert own
        assert not processes.runs(living.pid, "train", "movielens", "stem", "525")
        living.kill()
    assert not processes.alive(living.pid)
    assert not processes.runs(living.pid, "train")


def test_own_and_parent_process_are_alive() -> None:
    assert processes.alive(os.getpid())
    assert processes.alive(os.getppid())
