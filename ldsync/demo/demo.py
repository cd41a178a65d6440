"""`ldsync demo`: the whole way on one machine, and a verdict on the result.

An embedded broker and a simulator of LaunchDarkly run in this process, the real `ldsync run` in one
of its own. Generated events go in; when ldsync has settled them all, what the simulator holds is
compared with an independent fold of the same events.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ldsync.demo import result
from ldsync.demo.broker import BrokerUnavailable, EmbeddedBroker
from ldsync.demo.child import Child, ChildDied, Value
from ldsync.demo.feed import Feed, committed_offsets
from ldsync.demo.fold import Fold, Verdict
from ldsync.demo.generator import MIN_EVENTS, Message, Script, script
from ldsync.demo.result import Check, Delays
from ldsync.demo.scrape import Reading
from ldsync.demo.screen import Progress, Screen
from ldsync.demo.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run_demo"]

EX_FAILED = 1
EX_USAGE = 2
EX_UNAVAILABLE = 69
_SIGNALLED = 128

_PROJECT, _ENVIRONMENT, _TOKEN = "demo", "production", "api-demo-token"
_TOPIC, _GROUP = "engage-events", "ldsync-demo"
_PARTITIONS = 8
_OPENING_SECONDS = 8.0
_MIN_RATE = 2000.0
# The broker keeps 5 MB a partition, which is some 40,000 events over all; half of that may wait.
_MAX_UNREAD = 20_000
_LOOK_SECONDS = 0.2
_STALL_SECONDS = 30.0
_DRAIN_SECONDS = 40.0
_IMPATIENT_SECONDS = 5.0


class _Stalled(RuntimeError):
    """ldsync runs and makes no progress."""


def run_demo(events: int, *, keep: bool, seed: int) -> int:
    """Run the demo and print what it shows.

    Args:
        events: how many events to generate, at least `MIN_EVENTS`.
        keep: leave everything up after the verdict, until Ctrl-C.
        seed: of the generated events.

    Returns:
        The exit code: 0 if every check holds, 1 if not or if `ldsync run` failed, 2 for too few
        events, 69 without the embedded broker, 130 or 143 when interrupted or terminated.
    """
    screen = Screen()
    if events < MIN_EVENTS:
        screen.say(f"The demo needs at least {MIN_EVENTS} events to show one of every shape.")
        return EX_USAGE
    try:
        return asyncio.run(_until_terminated(events, keep=keep, seed=seed, screen=screen))
    except KeyboardInterrupt:
        screen.say("Interrupted: everything is stopped.")
        return _SIGNALLED + signal.SIGINT
    except asyncio.CancelledError:
        screen.say("Terminated: everything is stopped.")
        return _SIGNALLED + signal.SIGTERM
    except BrokerUnavailable as error:
        screen.say(str(error))
        return EX_UNAVAILABLE


async def _until_terminated(events: int, *, keep: bool, seed: int, screen: Screen) -> int:
    """The demo, cancelled by SIGTERM; by Ctrl-C asyncio does so itself."""
    if (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await _demo(events, keep=keep, seed=seed, screen=screen)
    finally:
        screen.close()


async def _demo(events: int, *, keep: bool, seed: int, screen: Screen) -> int:
    plan = script(events, seed, partitions=_PARTITIONS, start=dt.datetime.now(dt.UTC))
    async with contextlib.AsyncExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker())
        broker.create_topic(_TOPIC, _PARTITIONS)
        broker.create_topic(f"{_TOPIC}.dead-letters")
        simulator = Simulator(project=_PROJECT, environment=_ENVIRONMENT, token=_TOKEN)
        await stack.enter_async_context(simulator)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ldsync-demo-")))
        child = Child(directory, _settings(broker, simulator), _TOKEN)
        stack.push_async_callback(child.stop, _IMPATIENT_SECONDS)
        feed = Feed(broker.bootstrap_servers, _TOPIC)
        stack.push_async_callback(feed.stop)
        screen.say(f"{events:,} Engage events, {_PARTITIONS} partitions, seed {seed}")
        screen.say(f"ldsync      {child.url}/metrics  {child.url}/status")
        screen.say(f"simulator   {simulator.url}/")
        screen.say(f"ldsync run  --config {child.config}")
        run = _Run(plan, feed, child, simulator, screen)
        try:
            await child.start()
            await feed.start()
            await run.produce()
            checks = run.judge()
            if keep:
                await run.keep(checks)
                checks = []
            checks += await _stop(run, child, feed, broker)
        except (ChildDied, _Stalled) as error:
            screen.close()
            screen.say(str(error), "red")
            return EX_FAILED
        return run.conclude(checks)


def _settings(broker: EmbeddedBroker, simulator: Simulator) -> dict[str, dict[str, Value]]:
    """The configuration of this ldsync: small batches, so that both triggers show."""
    return {
        "kafka": {
            "bootstrap_servers": broker.bootstrap_servers,
            "topics": [_TOPIC],
            "group_id": _GROUP,
        },
        "launchdarkly": {
            "base_url": simulator.url,
            "project_key": _PROJECT,
            "environment_key": _ENVIRONMENT,
            "timeout_seconds": 2.0,
        },
        "batch": {"max_size": 250, "max_age_seconds": 1.0},
        # The first write of a new group waits as long as this.
        "ordering": {"settle_seconds": 3.0},
        "log": {"level": "info", "format": "json"},
    }


async def _stop(run: _Run, child: Child, feed: Feed, broker: EmbeddedBroker) -> list[Check]:
    """Stop ldsync as an operator would, and see what it leaves behind."""
    run.screen.say("stopping ldsync (SIGTERM)")
    code = await child.stop(_DRAIN_SECONDS)
    committed = await committed_offsets(broker.bootstrap_servers, _GROUP, _TOPIC, _PARTITIONS)
    return [
        result.check_offsets(committed, feed.acknowledged),
        Check("ldsync stopped cleanly", code == 0, f"exit code {code} after SIGTERM"),
    ]


class _Run:
    """One run: what went in, and what is known of what came out."""

    def __init__(
        self, plan: Script, feed: Feed, child: Child, simulator: Simulator, screen: Screen
    ) -> None:
        self.screen = screen
        self._plan, self._feed, self._child, self._simulator = plan, feed, child, simulator
        self._fold, self._delays = Fold(), Delays()
        self._produced = 0
        self._reading = Reading()
        self._began = self._seconds = time.monotonic()
        self._looked = 0.0
        self._all_hold = True

    async def produce(self) -> None:
        """The opening, then, when all of it is delivered, the tail that comes late."""
        self._began = time.monotonic()
        rate = max(_MIN_RATE, len(self._plan) / _OPENING_SECONDS)
        await self._send("writing events", self._plan.opening, rate)
        await self._settled("delivering")
        await self._send("writing events that come late", self._plan.tail, rate)
        await self._settled("delivering what came late")
        self._seconds = time.monotonic() - self._began

    def judge(self) -> list[Check]:
        """Show the figures; compare outcomes and final state with the fold."""
        names = {key: segment.name for key, segment in self._simulator.segments.items()}
        self.screen.summary(
            events=self._produced,
            changes=self._fold.verdicts[Verdict.CHANGE],
            seconds=self._seconds,
            figures=self._delays.figures(self._simulator.requests),
            reading=self._reading,
        )
        return [
            *result.check_outcomes(self._produced, self._fold, self._reading),
            *result.check_state(self._fold, self._simulator.state(), names),
        ]

    async def keep(self, checks: Sequence[Check]) -> None:
        """Show the verdict so far and leave everything up until Ctrl-C."""
        self._note(checks)
        self.screen.say("Everything stays up; Ctrl-C stops it.")
        task = asyncio.current_task()
        try:
            while True:
                await self._child.read()
                await asyncio.sleep(1.0)
        except asyncio.CancelledError:
            if task is not None:
                task.uncancel()

    def conclude(self, checks: Sequence[Check]) -> int:
        """Show the rest of the verdict; the exit code."""
        self._note(checks)
        if self._all_hold:
            self.screen.say("The demo succeeded.", "bold green")
            return 0
        self.screen.say(f"ldsync printed last:\n{self._child.last_lines()}")
        self.screen.say("The demo FAILED: see the lines marked FAIL.", "bold red")
        return EX_FAILED

    def _note(self, checks: Sequence[Check]) -> None:
        self.screen.checks(checks)
        self._all_hold = self._all_hold and not result.failed(checks)

    async def _send(self, phase: str, messages: Sequence[Message], rate: float) -> None:
        async for chunk in self._feed.send(messages, rate):
            for sent in chunk:
                judged = self._fold.add(
                    sent.message.value,
                    partition=sent.message.partition,
                    recorded_ms=sent.recorded_ms,
                )
                if judged.change is not None:
                    self._delays.produced(judged.change, sent.at)
            self._produced += len(chunk)
            await self._look(phase)
            while self._produced - self._reading.consumed > _MAX_UNREAD:
                await self._progress("waiting for ldsync to read")

    async def _settled(self, phase: str) -> None:
        """Until every record produced so far has its outcome."""
        while self._reading.settled < self._produced or self._reading.pending:
            await self._progress(phase)

    async def _progress(self, phase: str) -> None:
        """Wait until ldsync has got further.

        Raises:
            _Stalled: it has not for 30 seconds.
        """
        before, deadline = self._reading, time.monotonic() + _STALL_SECONDS
        while (self._reading.consumed, self._reading.settled) == (before.consumed, before.settled):
            if time.monotonic() > deadline:
                raise _Stalled(
                    f"ldsync makes no progress: {self._produced:,} records produced, "
                    f"{before.consumed:,} consumed, {before.settled:,} settled. "
                    f"It printed last:\n{self._child.last_lines()}"
                )
            await asyncio.sleep(_LOOK_SECONDS / 4)
            await self._look(phase)

    async def _look(self, phase: str) -> None:
        """Read ldsync's metrics and show where the run stands, five times a second."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        self._reading = await self._child.read()
        state, exchanges = self._simulator.state(), self._simulator.log.exchanges
        self.screen.progress(
            Progress(
                phase=phase,
                produced=self._produced,
                total=len(self._plan),
                reading=self._reading,
                segments=len(state),
                requests=exchanges[-1].sequence if exchanges else 0,
                members=sum(len(keys) for kinds in state.values() for keys in kinds.values()),
            )
        )
