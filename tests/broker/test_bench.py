"""The benches run: small ones; the figures of the first say nothing, the second is a judge."""

import asyncio
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]


async def test_a_small_bench_measures_all_three_and_finds_full_batches() -> None:
    """`make bench` ends with the table and the ratios."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench"),
        *("--events", "30000", "--rounds", "1", "--audiences", "5"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    output = said.decode()
    assert process.returncode == 0, output
    for subject in ("raw limit", "parse limit", "ldsync run"):
        assert f"{subject}: ratio to the parse limit" in output


@pytest.mark.timeout(300)
async def test_a_small_bench_of_a_fault_measures_the_others_and_judges_the_end() -> None:
    """`make bench ARGS=faults` ends with a row for each fault and a verdict."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench", "faults"),
        *("--seconds", "2", "--pause", "2", "--only", "404 deleted"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    output = said.decode()
    assert process.returncode == 0, output
    for line in ("404 deleted: over after 2", "goal: p99 within 2 times", "everything is right"):
        assert line in output


@pytest.mark.timeout(300)
async def test_a_small_flood_of_bad_inputs_is_accounted_for() -> None:
    """`make letters`: counters, dead letters by hash and offsets are what the inputs say."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.letters", "--records", "5000", "--seed", "7"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    output = said.decode()
    assert process.returncode == 0, output
    assert "everything is accounted for" in output
