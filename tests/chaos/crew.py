"""The processes that carry out runs, several at once, and who follows one that crashes."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tests.chaos.job import job
from tests.chaos.plan import Plan

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_TRIES = 3

Done = tuple[Plan, str, list[str]]
"""A plan, what came of it in words, and what was violated."""

Work = Callable[[Path, int, Connection], None]
"""What a job does: `job`, and others in tests of the crew."""


class Crew:
    """Jobs, each with a line to give it plans by and to hear what came of them.

    A context manager: at its end, however that comes, no job is left behind, nor what it started.

    Attributes:
        size: How many there are.
    """

    def __init__(self, directory: Path, size: int, work: Work = job) -> None:
        self.size = size
        self._work = work
        self._directory = directory
        self._context = multiprocessing.get_context("spawn")
        self._jobs: dict[Connection, tuple[int, SpawnProcess]] = {}
        self._busy: dict[Connection, Plan] = {}

    def __enter__(self) -> Self:
        for number in range(self.size):
            self._engage(number)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for line, (_, process) in self._jobs.items():
            if error is not None:
                process.terminate()
            else:
                with contextlib.suppress(OSError):
                    line.send(None)
            line.close()
        for _, process in self._jobs.values():
            process.join()

    def carry_out(self, plans: list[Plan], deadline: float | None) -> Iterator[Done]:
        """Give plans out, none after the deadline (monotonic seconds), and tell what came of each.

        A run whose job crashed is made again, by another job: the clients and servers that it uses
        for its part are not what is tried.
        """
        left, tries = deque(plans), dict.fromkeys(plans, 0)
        while True:
            for line in self._jobs.keys() - self._busy.keys():
                if left and (deadline is None or time.monotonic() < deadline):
                    self._busy[line] = left.popleft()
                    tries[self._busy[line]] += 1
                    line.send(self._busy[line])
            if not self._busy:
                return
            for ready in wait(list(self._busy)):
                assert isinstance(ready, Connection)
                plan = self._busy.pop(ready)
                try:
                    text, violations = ready.recv()
                except EOFError:
                    text = self._replace(ready, plan)
                    violations = ["no verdict"]
                    if tries[plan] < _TRIES:
                        print(f"{text}; it is run again", flush=True)
                        left.appendleft(plan)
                        continue
                yield plan, text, violations

    def _engage(self, number: int) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=self._work, args=(self._directory, number, theirs))
        process.start()
        theirs.close()
        self._jobs[ours] = number, process

    def _replace(self, line: Connection, plan: Plan) -> str:
        """Let another follow a job that is gone; how it ended, in words."""
        number, process = self._jobs.pop(line)
        line.close()
        process.join()
        run = self._directory / f"seed-{plan.seed}"
        _end_orphans(self._directory / f"ground-{number}", run)
        shutil.rmtree(run, ignore_errors=True)
        self._engage(number + self.size)
        return f"seed {plan.seed}: the process that ran it ended with {process.exitcode}"


def _end_orphans(*directories: Path) -> None:
    """End what a job has left behind: arguments, or where it runs, say whose it is."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            traces = (process / "cmdline").read_bytes() + os.fsencode((process / "cwd").readlink())
            if any(f"{directory}/".encode() in traces + b"/" for directory in directories):
                os.kill(int(process.name), signal.SIGKILL)
