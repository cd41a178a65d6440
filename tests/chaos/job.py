"""A process that carries out one run after the other, on ground of its own."""

import asyncio
import queue
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.chaos.ground import Ground
from tests.chaos.plan import plan
from tests.chaos.run import Report, run


def job(directory: Path, number: int, seeds: Any, reports: Any, deadline: float | None) -> None:
    """One seed after the other, on ground of its own, in a process of its own."""
    try:
        asyncio.run(_runs(directory, number, seeds, reports, deadline))
    except KeyboardInterrupt:
        sys.exit(130)


async def _runs(
    directory: Path, number: int, seeds: Any, reports: Any, deadline: float | None
) -> None:
    ground = Ground(directory / f"ground-{number}")
    try:
        while deadline is None or time.monotonic() < deadline:
            try:
                seed = seeds.get(timeout=0.2)
            except queue.Empty:
                return
            own = directory / f"seed-{seed}"
            report = Report(plan(seed), own)
            try:
                await run(report, ground)
            except Exception:  # noqa: BLE001 - a run that cannot be judged is a failure, told as such
                report.violations = [f"the run itself failed:\n{traceback.format_exc()}"]
            if not report.violations:
                shutil.rmtree(own, ignore_errors=True)
            reports.put((seed, str(report), report.violations))
    finally:
        await ground.clear()
        shutil.rmtree(directory / f"ground-{number}", ignore_errors=True)
