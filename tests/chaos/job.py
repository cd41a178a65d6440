"""A process that carries out one run after the other, on ground of its own."""

import asyncio
import shutil
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.ground import Ground
from tests.chaos.run import Report, run

if TYPE_CHECKING:
    from tests.chaos.plan import Plan


def job(directory: Path, number: int, line: Connection) -> None:
    """Carry out every plan that comes over a line, and answer each with (text, violations).

    Ends when None comes. `directory` is for what is kept: that of a run without violations is
    removed. `number` is of this job.
    """
    ground = Ground(directory / f"ground-{number}")
    try:
        asyncio.run(_runs(directory, ground, line))
    except asyncio.CancelledError:
        sys.exit(130)
    finally:
        ground.end()
        shutil.rmtree(directory / f"ground-{number}", ignore_errors=True)


async def _runs(directory: Path, ground: Ground, line: Connection) -> None:
    task = asyncio.current_task()
    assert task is not None
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, task.cancel)
    try:
        while True:
            plan: Plan | None = await asyncio.to_thread(line.recv)
            if plan is None:
                return
            report = Report(plan, directory / f"seed-{plan.seed}")
            await _one(report, ground)
            line.send((str(report), report.violations))
    finally:
        await ground.clear()


async def _one(report: Report, ground: Ground) -> None:
    try:
        await run(report, ground)
    except Exception:  # noqa: BLE001 - a run that cannot be judged has failed, and says why
        report.violations = [f"the run itself failed:\n{traceback.format_exc()}"]
    if not report.violations:
        shutil.rmtree(report.directory, ignore_errors=True)
