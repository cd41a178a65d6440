"""A process that carries out one run after the other, on ground of its own."""

import asyncio
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.ground import Ground
from tests.chaos.run import Report, run

if TYPE_CHECKING:
    from tests.chaos.plan import Plan


def job(directory: Path, number: int, plans: Any, reports: Any, deadline: float | None) -> None:
    """Carry out one plan of a queue after the other, and put (seed, text, violations) in another.

    Args:
        directory: For what is kept: that of a run without violations is removed.
        number: Of this job.
        plans: The queue of plans, with a None for each job behind them.
        reports: The queue of reports.
        deadline: When no run is begun any more, by the monotonic clock; None for never.
    """
    ground = Ground(directory / f"ground-{number}")
    try:
        asyncio.run(_runs(directory, ground, plans, reports, deadline))
    except asyncio.CancelledError:
        sys.exit(130)
    finally:
        ground.end()
        shutil.rmtree(directory / f"ground-{number}", ignore_errors=True)


async def _runs(
    directory: Path, ground: Ground, plans: Any, reports: Any, deadline: float | None
) -> None:
    task = asyncio.current_task()
    assert task is not None
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, task.cancel)
    try:
        while deadline is None or time.monotonic() < deadline:
            plan: Plan | None = plans.get()
            if plan is None:
                return
            report = Report(plan, directory / f"seed-{plan.seed}")
            await _one(report, ground)
            reports.put((plan.seed, str(report), report.violations))
    finally:
        await ground.clear()


async def _one(report: Report, ground: Ground) -> None:
    try:
        await run(report, ground)
    except Exception:  # noqa: BLE001 - a run that cannot be judged has failed, and says why
        report.violations = [f"the run itself failed:\n{traceback.format_exc()}"]
    if not report.violations:
        shutil.rmtree(report.directory, ignore_errors=True)
