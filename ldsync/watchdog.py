"""The watchdog: ends a process that does nothing although there is something to do.

Clients of Kafka have stopped fetching in silence before, and a restart is what helps. There must be
lag, as the brokers count it, and no reason of our own: while consumption pauses, history is read or
the group changes, nothing is expected. What LaunchDarkly does never leads to a restart: a buffer
that is not full takes in records however long writes wait.
"""

from __future__ import annotations

import asyncio
import io
import sys
import time
import traceback
from typing import TYPE_CHECKING, Final

import structlog

from ldsync.sync.progress import Progress
from ldsync.sync.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldsync.telemetry.journal import Journal
    from ldsync.worker import Worker

_LOOKS: Final = 20
"""How often it looks in the time that is allowed."""


class Stalled(Exception):
    """There is lag, and no record was consumed for too long."""


class Watchdog:
    """Looks at a worker now and then; `limit` is how long it may do nothing, in seconds."""

    def __init__(self, worker: Worker, journal: Journal, limit: float) -> None:
        """Watch how much `journal` says that `worker` has consumed."""
        self._worker = worker
        self._journal = journal
        self._limit = limit
        self._progress = Progress()

    async def run(self) -> None:
        """Look for ever.

        Raises:
            Stalled: after all stacks were logged; the process should end.
        """
        while True:
            await asyncio.sleep(self._limit / _LOOKS)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Look once, at a time in monotonic seconds.

        Raises:
            Stalled: see `run`.
        """
        lag = sum(self._worker.offsets.lags.values())
        expected = lag > 0 and self._worker.state is State.RUNNING
        stalled = self._progress.stalled_for(now, self._journal.consumed, expected=expected)
        if stalled < self._limit:
            return
        log = structlog.get_logger()
        for name, stack in _stacks():
            log.error("watchdog.stack", of=name, stack=stack)
        raise Stalled(
            f"No record was consumed for {stalled:.0f} s although the partitions are {lag} records "
            "behind and nothing holds them back; ldsync stops, so that it can be started afresh"
        )


def _stacks() -> Iterator[tuple[str, str]]:
    """Where every task and every thread is, without any values (P8)."""
    for task in asyncio.all_tasks():
        text = io.StringIO()
        task.print_stack(file=text)
        yield task.get_name(), text.getvalue()
    for number, frame in sys._current_frames().items():  # noqa: SLF001 - documented all the same
        yield f"thread {number}", "".join(traceback.format_stack(frame))
