"""The hub as a process."""

from __future__ import annotations

import subprocess
import sys


def test_what_outlives_a_hub_holds_nothing_that_it_was_started_with() -> None:
    script = (
        "import os; from projecthub.cli._serving import keep_to_ourselves;"
        "held, _ = os.pipe(); os.set_inheritable(held, True); {}"
        "pid = os.posix_spawn('/bin/ls', ['ls', '-l', '/proc/self/fd'], os.environ); os.waitpid(pid, 0)"
    )
    for call, is_held in (("", True), ("keep_to_ourselves();", False)):
        run = subprocess.run([sys.executable, "-c", script.format(call)], capture_output=True, text=True, check=True)
        assert ("pipe:" in "".join(line for line in run.stdout.splitlines() if " 3 -> " in line)) is is_held
