"""Runs that are to bring one bug to light, in the copy of the repository that has it.

Says as JSON, one line a run, what the judge found, and ends with the first run that fails.
"""

import asyncio
import json
import shutil
import sys
import traceback
from pathlib import Path

from tests.chaos.ground import Ground
from tests.chaos.mutations.bugs import BUGS
from tests.chaos.run import Report, run


async def bring_to_light(name: str, directory: Path, seeds: int) -> None:
    """Run seeds until one fails."""
    (bug,) = (each for each in BUGS if each.name == name)
    ground = Ground(directory / "ground")
    try:
        for seed in range(1, seeds + 1):
            own = directory / f"seed-{seed}"
            report = Report(bug.plan(seed), own)
            trouble = ""
            try:
                await run(report, ground)
            except Exception:  # noqa: BLE001 - a run that cannot be judged is told as such
                trouble = traceback.format_exc()
            told = {
                "seed": seed,
                "seconds": report.seconds,
                "violations": report.violations,
                "trouble": trouble,
            }
            print(json.dumps(told), flush=True)
            shutil.rmtree(own, ignore_errors=True)
            if report.violations:
                return
    finally:
        await ground.clear()


if __name__ == "__main__":
    asyncio.run(bring_to_light(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
