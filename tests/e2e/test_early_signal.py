"""A signal that comes while ldsync is being put together, before it listens to anything."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.ldsync_process import QUICK, LdsyncProcess, merged

SETTINGS = merged(QUICK, {"launchdarkly": {"project_key": "shop", "environment_key": "production"}})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_right_after_the_first_line_of_the_log_is_a_stop_in_order(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Exit code 0: 143 would say that it was told twice."""
    process = LdsyncProcess(tmp_path / "ldsync", SETTINGS)
    process.start()
    try:
        await eventually(lambda: "ldsync.starting" in process.output, "it begins", 60, 0.001)
        process.signal(number)
        assert await process.exit_code(60) == 0
    finally:
        await asyncio.to_thread(process.kill)
    assert process.output.count("ldsync.stopped") == 1
