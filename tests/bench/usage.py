"""What a process has used, from /proc: asked from outside, so that the asking costs it nothing."""

import os
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Use of a process since it began."""

    cpu_seconds: float  # user and system, all threads
    peak_bytes: int  # of resident memory


def usage(pid: int) -> Usage:
    """The use so far of a process that is running."""
    process = Path("/proc") / str(pid)
    # The command's name, in parentheses, may hold anything; user and system are fields 14 and 15.
    fields = (process / "stat").read_text().rpartition(") ")[2].split()
    for line in (process / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            peak = int(line.split()[1]) * 1024
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, peak)
