"""The outbox: letters that wait to be written, and those that are being written."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ldsync.kafka.letter import Letter

ROUND_BYTES: Final = 4_194_304
ROUND_LETTERS: Final = 5000
"""What is written before the next look at what waits."""


class Outbox:
    """A queue that knows its size, and belongs to one epoch at a time.

    Args:
        may_go: Says whether a letter may be written before its time.
        held_seconds: How long a letter waits that may not.

    Attributes:
        letters: How many are in it, being written included.
        bytes: About how much memory they take.
        epoch: Grows with each `discard`.
    """

    def __init__(self, may_go: Callable[[Letter], bool], held_seconds: float) -> None:
        self._may_go = may_go
        self._held_seconds = held_seconds
        self._queue: deque[tuple[float, Letter]] = deque()
        self._new = asyncio.Event()
        self._progress = asyncio.Event()
        self._hurried = 0
        self.letters = 0
        self.bytes = 0
        self.epoch = 0

    def add(self, letter: Letter) -> None:
        """Put a letter at the end."""
        self._queue.append((time.monotonic() + self._held_seconds, letter))
        self.letters += 1
        self.bytes += letter.size
        self._new.set()

    def look_again(self) -> None:
        """A letter that waited may go by now."""
        self._new.set()

    def done(self, letter: Letter) -> None:
        """Let go of a letter that was written, or is not to be written any more."""
        self.letters -= 1
        self.bytes -= letter.size
        self._progress.set()

    def give_back(self, letters: Sequence[Letter], epoch: int) -> None:
        """Put back what was not written, before what came since; unless its epoch is over."""
        if epoch == self.epoch:
            self._queue.extendleft((0.0, letter) for letter in reversed(letters))
            return
        for letter in letters:
            self.done(letter)

    def discard(self) -> None:
        """Begin another epoch: forget what waits; what is being written is not given back."""
        self.epoch += 1
        waiting, self._queue = self._queue, deque()
        for _, letter in waiting:
            self.done(letter)
        self._progress.set()

    async def until(self, holds: Callable[[], bool], *, hurry: bool = False) -> None:
        """Wait until something holds that depends on letters; `hurry` lets all of them go."""
        self._hurried += hurry
        try:
            while not holds():
                self._progress.clear()
                self._new.set()
                await self._progress.wait()
        finally:
            self._hurried -= hurry

    async def next_round(self) -> list[Letter]:
        """Take what may be written now, as soon as there is something."""
        while True:
            self._new.clear()
            wait = None
            if self._queue:
                held_until, first = self._queue[0]
                free = self._hurried or self._may_go(first)
                wait = 0.0 if free else held_until - time.monotonic()
                if wait <= 0.0:
                    return self._take()
            try:
                async with asyncio.timeout(wait):
                    await self._new.wait()
            except TimeoutError:
                pass

    def _take(self) -> list[Letter]:
        letters: list[Letter] = []
        size = 0
        while self._queue and size < ROUND_BYTES and len(letters) < ROUND_LETTERS:
            _, letter = self._queue.popleft()
            letters.append(letter)
            size += letter.size
        return letters
