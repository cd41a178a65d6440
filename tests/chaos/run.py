"""One run: set up, mischief, rest, evidence, verdict."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.archive import save
from tests.chaos.evidence import Evidence, Quiet
from tests.chaos.feeder import Feeder
from tests.chaos.ground import Ground
from tests.chaos.history import history
from tests.chaos.judge import judge
from tests.chaos.letters import Letters
from tests.chaos.mischief import Step
from tests.chaos.plan import SETTLE, Plan
from tests.chaos.record import evidence
from tests.chaos.scene import Scene
from tests.chaos.troubles import befall

_STUCK_SECONDS = 60.0  # without any progress, after all troubles
_REST_SECONDS = 180.0  # in all
_BUSY_SECONDS = 1.0  # by which this process may be late, and still tell times of requests


@dataclass(slots=True)
class Report:
    """What became of a run.

    Attributes:
        plan: What it was to be.
        violations: What is wrong, in words.
        records: How many there were.
        parked: How many letters of parked changes.
        lives: How many processes.
        seconds: How long it took.
        lag: By how much this process was late at worst, in seconds.
        directory: Where its evidence and the processes' output are.
    """

    plan: Plan
    directory: Path
    violations: list[str] = field(default_factory=list)
    records: int = 0
    parked: int = 0
    lives: int = 0
    seconds: float = 0.0
    lag: float = 0.0

    def __str__(self) -> str:
        steps = " ".join(step.trouble.value for step in self.plan.steps)
        verdict = "ok" if not self.violations else f"{len(self.violations)} VIOLATIONS"
        return (
            f"seed {self.plan.seed}: {verdict} in {self.seconds:.0f} s; {self.plan.combination}; "
            f"{steps}; {self.records} records, {self.parked} parked, {self.lives} processes, "
            f"lag {self.lag:.2f} s"
        )


async def run(report: Report, ground: Ground) -> None:
    """Carry the plan of a report out, judge what came of it, and fill the report in."""
    plan, directory = report.plan, report.directory
    began = time.monotonic()
    watch = asyncio.create_task(_watch_lag(report))
    scene = Scene(plan, ground, directory)
    try:
        await scene.set_up()
        quiet = await _live(scene)
        found = await evidence(scene, quiet, slack=max(0.1, report.lag))
        await asyncio.to_thread(save, found, directory / "evidence")
        report.records, report.lives = len(found.records), len(found.lives)
        report.parked = sum(each.parked for each in Letters(found.letters).all)
        report.violations = await asyncio.to_thread(_verdict, found)
        report.violations += [each for one in scene.replicas for each in one.complaints]
    finally:
        watch.cancel()
        await scene.tear_down()
        report.seconds = time.monotonic() - began


def _verdict(found: Evidence) -> list[str]:
    return [str(violation) for violation in judge(found).violations]


async def _live(scene: Scene) -> Quiet:
    """Let the processes live through the history and the mischief; returns when all have ended."""
    posts = history(scene.plan, datetime.now(UTC))
    servers = ",".join(node.bootstrap_servers for node in scene.cluster.nodes)
    feeder = Feeder(servers, scene.topic, posts, transactions=scene.plan.transactions)
    scene.feeder = feeder
    feeder.known = scene.plan.partitions
    writing = asyncio.create_task(asyncio.to_thread(feeder.run))
    try:
        scene.start()
        await _mischief(scene)
        await scene.heal()
        await writing
        quiet = await _rest(scene)
        # What was let go late has taken effect by then.
        await asyncio.sleep(SETTLE)
        for replica in scene.replicas:
            await replica.now.look()
        await scene.farewell()
        return quiet
    finally:
        feeder.stop()
        await writing


async def _mischief(scene: Scene) -> None:
    async def at_its_time(step: Step) -> None:
        await asyncio.sleep(step.at)
        await befall(scene, step)

    async with asyncio.TaskGroup() as group:
        for step in scene.plan.steps:
            group.create_task(at_its_time(step))


async def _rest(scene: Scene) -> Quiet:
    """Wait until everything is committed, and replayed what was parked.

    As long as there is progress nobody is stuck.
    """
    began = progress = time.monotonic()
    before: tuple[dict[int, int], int] | None = None
    while True:
        committed, ends = await scene.committed(), await scene.ends()
        at_end = all(committed.get(number) == end for number, end in ends.items())
        parked = await _parked(scene) if at_end else 0
        if at_end and not parked:
            return Quiet(time.time())
        now = time.monotonic()
        reached = committed, parked
        if reached != before:
            before, progress = reached, now
        if now > progress + _STUCK_SECONDS or now > began + _REST_SECONDS:
            why = f"committed {committed} of {ends}, {parked} parked"
            return Quiet(None, await _left(scene, why))
        await asyncio.sleep(0.3)


async def _parked(scene: Scene) -> int:
    """How many parked letters were not replayed yet; each is a scan of their topic."""
    if scene.plan.park_after is None:
        return 0
    return len(Letters(await scene.letters()).parked())


async def _left(scene: Scene, why: str) -> str:
    """What the processes say when they do not come to rest."""
    words = [why]
    for replica in scene.replicas:
        living = replica.now
        try:
            _, page = await living.process.ask("/status")
        except AssertionError:
            page = "it has ended"
        words.append(f"process {living.number}: {page}\n{living.process.output[-3000:]}")
    return "\n".join(words)


async def _watch_lag(report: Report) -> None:
    """How late this process is at worst: the simulator and the cables are as late."""
    while True:
        due = time.monotonic() + 0.05
        await asyncio.sleep(0.05)
        report.lag = max(report.lag, time.monotonic() - due)
