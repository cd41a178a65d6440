"""One place for a process of ldsync: whoever ends there is followed by another, with a number."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.evidence import End, Freeze, Life, Sample, samples_of
from tests.support.ldsync_process import LdsyncProcess

_LOOK_SECONDS = 0.25
_SCRAPE_SECONDS = 2.0
_RESTART_SECONDS = 1.0  # after it ended by itself, as a supervisor waits
_FAREWELL_SECONDS = 60.0  # for a process to end after SIGTERM; it has some ten by its settings


@dataclass(slots=True)
class Living:
    """A process and what is written down of it; `told` makes evidence of that."""

    number: int
    process: LdsyncProcess
    started: float = field(default_factory=time.time)
    ended: float | None = None
    end: End | None = None
    asked: float | None = None
    exit_code: int | None = None
    freezes: list[Freeze] = field(default_factory=list)
    stopped: float | None = None
    scrape: tuple[Sample, ...] = ()
    scraped: float | None = None
    peak: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, as far as was seen."""
        return self.exit_code is None

    def told(self, limit: int, tolerated: tuple[int, ...]) -> Life:
        """What is known of it."""
        still = [] if self.stopped is None else [Freeze(self.stopped, None)]
        if not self.process.output:  # Python was not that far: nobody could take a signal yet
            tolerated = (*tolerated, 128 + signal.SIGTERM)
        return Life(
            number=self.number,
            started=self.started,
            ended=self.ended,
            end=self.end,
            asked=self.asked,
            exit_code=self.exit_code,
            tolerated=tolerated,
            freezes=(*self.freezes, *still),
            scrape=self.scrape,
            scraped=self.scraped,
            peak_rss_bytes=self.peak,
            rss_limit_bytes=limit,
        )

    async def look(self) -> None:
        """Read its metrics and its memory, if it answers."""
        self._measure()
        if self.stopped is not None or not self.is_running:
            return
        with contextlib.suppress(AssertionError):  # it has ended meanwhile
            at = time.time()
            scrape = await self.process.scrape()
            if scrape.samples:
                self.scrape, self.scraped = samples_of(scrape.samples), at

    def _measure(self) -> None:
        """The most memory it had so far, as the kernel says."""
        with contextlib.suppress(OSError, StopIteration):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
            self.peak = int(line.split()[1]) * 1024


class Replica:
    """A place for a process.

    Attributes:
        slot: Its number among the replicas.
        lives: All that lived here, in order.
        turn: Held by who does something to it.
        complaints: What went wrong that no plan provokes, in words.
    """

    def __init__(self, slot: int, launch: Callable[[int], Living]) -> None:
        self.slot = slot
        self.lives: list[Living] = []
        self.turn = asyncio.Lock()
        self.complaints: list[str] = []
        self._launch = launch

    @property
    def now(self) -> Living:
        """Who lives here, or did last."""
        return self.lives[-1]

    def start(self) -> None:
        """Let the next live here."""
        self.lives.append(self._launch(self.slot))

    async def supervise(self) -> None:
        """See who ended, and let another follow; until cancelled."""
        scraped = 0.0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self.lives or self.turn.locked():
                continue
            async with self.turn:
                if self.has_ended():
                    await asyncio.sleep(_RESTART_SECONDS)
                    self.start()
                elif time.monotonic() > scraped + _SCRAPE_SECONDS:
                    await self.now.look()
                    scraped = time.monotonic()

    def has_ended(self) -> bool:
        """Whether nobody lives here; writes down who ended by itself."""
        living = self.now
        if living.is_running and (code := living.process.poll()) is not None:
            living.exit_code, living.ended, living.end = code, time.time(), End.BY_ITSELF
        return not living.is_running

    async def kill(self) -> None:
        """SIGKILL."""
        living = self.now
        if self.has_ended():
            return
        await living.look()
        if self.has_ended():
            return
        living.asked = time.time()
        await asyncio.to_thread(living.process.kill)
        self._gone(End.KILLED, 128 + signal.SIGKILL)

    async def end(self, *, hurry: float | None = None) -> None:
        """SIGTERM, and a second one `hurry` seconds later if that is given."""
        living = self.now
        if self.has_ended():
            return
        await living.look()
        if self.has_ended():
            return
        living.asked = time.time()
        living.process.signal(signal.SIGTERM)
        how = End.TERMINATED
        if hurry is not None:
            await asyncio.sleep(hurry)
            if living.process.poll() is None:
                living.process.signal(signal.SIGTERM)
                how = End.HURRIED
        try:
            code = await living.process.exit_code(_FAREWELL_SECONDS)
        except AssertionError as problem:
            self.complaints.append(f"process {living.number} does not end: {problem}")
            await asyncio.to_thread(living.process.kill)
            code = 128 + signal.SIGKILL
        self._gone(how, code)

    async def stand_still(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after that time."""
        living = self.now
        if self.has_ended():
            return
        await living.look()
        living.stopped = time.time()
        living.process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            living.process.signal(signal.SIGCONT)
            living.freezes.append(Freeze(living.stopped, time.time()))
            living.stopped = None

    def _gone(self, how: End, code: int) -> None:
        self.now.ended, self.now.end, self.now.exit_code = time.time(), how, code
