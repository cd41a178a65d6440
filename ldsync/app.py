"""The composition root: builds every part, and answers for how the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import random
import signal
from typing import TYPE_CHECKING, Final, Self

import structlog

import ldsync
from ldsync import files
from ldsync.config.hidden import secrets_of
from ldsync.engage.verdict import VERDICTS
from ldsync.kafka.dead_letters import DeadLetters
from ldsync.kafka.errors import SourceMisconfigured, SourceRefused, SourceUnavailable
from ldsync.kafka.source import Source
from ldsync.launchdarkly.connection import Connection
from ldsync.launchdarkly.outcome import REJECTIONS, RetryReason
from ldsync.launchdarkly.schedule import Schedule
from ldsync.mappings import decoder_of
from ldsync.parking import Parking
from ldsync.parts import Parts
from ldsync.report import Report
from ldsync.sync.backoff import Backoff
from ldsync.sync.buffer import Buffer
from ldsync.sync.lease import Lease
from ldsync.sync.ledger import Ledger
from ldsync.sync.limits import Budget
from ldsync.sync.outcomes import PARKED, RecordOutcome
from ldsync.sync.policy import Policy
from ldsync.sync.waiting import Waiting
from ldsync.telemetry import log as logging
from ldsync.telemetry.http import AdminError, AdminServer
from ldsync.telemetry.journal import Journal
from ldsync.telemetry.metrics import Metrics
from ldsync.versions.advice import settings_concerns
from ldsync.versions.base import StoreMisconfigured
from ldsync.versions.opening import open_versions
from ldsync.watchdog import Watchdog
from ldsync.worker import Worker
from ldsync.writers import limits_of, writer_of

if TYPE_CHECKING:
    from ldsync.config import DeadLettersSettings, Settings

OK: Final = 0
CRASHED: Final = 1
UNAVAILABLE: Final = 69
MISCONFIGURED: Final = 78

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_OPERATOR_FLOOR: Final = 0.5
_ENDING_SECONDS: Final = 15.0
_YOUNG_OBJECTS: Final = 50_000

# Of <malloc.h>. 32 MiB is the most that it takes as the second on 64-bit machines.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 128 * 1024 * 1024
_LARGEST_FROM_HEAP: Final = 32 * 1024 * 1024


def run(settings: Settings) -> int:
    """Run the worker until it is told to stop; return the exit code of the process.

    0 drained, 1 crashed, 69 Kafka was not reached within the start deadline, 78 misconfigured. A
    second SIGTERM or SIGINT ends the process at once, with 128 + its number.
    """
    logging.configure(settings.log.level, settings.log.format, secrets_of(settings))
    try:
        concern = files.look(settings).concern
    except files.TooFewFiles as error:
        structlog.get_logger().error("process.too_few_files", detail=str(error))
        return MISCONFIGURED
    if concern:
        structlog.get_logger().warning("process.few_files", detail=concern)
    with asyncio.Runner() as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    for number in _SIGNALS:
        signal.signal(number, _leave)  # until `_App` listens to them
    log = structlog.get_logger()
    log.info("ldsync.starting", version=ldsync.__version__)
    try:
        async with _App(settings) as app:
            await app.work()
    except AdminError as error:
        log.error("admin.unavailable", detail=str(error))  # noqa: TRY400 - no fault of the program
        return MISCONFIGURED
    except SourceUnavailable as error:
        log.error("kafka.unavailable", detail=str(error))  # noqa: TRY400
        return UNAVAILABLE
    except SourceMisconfigured as error:
        log.error("kafka.misconfigured", detail=str(error))  # noqa: TRY400
        return MISCONFIGURED
    except StoreMisconfigured as error:
        log.error("ordering.misconfigured", detail=str(error))  # noqa: TRY400
        return MISCONFIGURED
    except Exception as error:
        cause = _cause(error)
        if isinstance(cause, SourceRefused):
            log.error("kafka.misconfigured", detail=str(cause))  # noqa: TRY400
            return MISCONFIGURED
        log.exception(
            "ldsync.crashed",
            detail=str(cause),
            advice="what is not committed is consumed again after the start",
        )
        return CRASHED
    log.info("ldsync.stopped")
    return OK


def _leave(number: int, _frame: object) -> None:
    """End in order before anything has begun: nothing was read that would have to be drained."""
    log = structlog.get_logger()
    log.info("ldsync.stopping", signal=signal.Signals(number).name)
    log.info("ldsync.stopped")
    raise SystemExit(OK)


def _cause(error: BaseException) -> BaseException:
    """Return the first error in a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _App:
    """Everything that lives as long as the process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        if settings.launchdarkly.dry_run:
            structlog.contextvars.bind_contextvars(dry_run=True)  # on every line from here on
        rng = random.Random()
        metrics = Metrics()
        _begin_at_zero(metrics)
        journal = Journal(metrics)
        lease = Lease(
            settings.kafka.session_timeout_seconds, settings.kafka.rebalance_timeout_seconds
        )
        self._launchdarkly = Connection(settings.launchdarkly, metrics, rng, lease)
        client, environment = self._launchdarkly.client, self._launchdarkly.environment
        writer = writer_of(settings.launchdarkly, client, environment, metrics, rng)
        buffer = Buffer(limits_of(settings, writer), _budget(settings))
        self._versions = open_versions(settings.ordering, _name_of_environment(settings), metrics)
        ledger = Ledger()
        dead_letters = DeadLetters(
            _dead_letters(settings),
            settings.kafka,
            lambda: decoder_of(settings),
            metrics,
            structlog.get_logger(),
        )
        decoder = decoder_of(settings)
        waiting = Waiting(settings.dead_letters.park_after_seconds)
        parts = Parts(
            decoder=decoder,
            buffer=buffer,
            ledger=ledger,
            dead_letters=dead_letters,
            parking=Parking(waiting, buffer, self._versions, dead_letters, decoder, journal),
            lease=lease,
            versions=self._versions,
            writer=writer,
            environment=environment,
            pacing=self._launchdarkly.pacing,
            schedule=_schedule(settings, self._launchdarkly, rng),
            journal=journal,
            metrics=metrics,
        )
        self.worker = Worker(
            parts,
            _policy(settings),
            lambda listener: Source(
                settings.kafka,
                listener,
                metrics,
                structlog.get_logger(),
                dry_run=settings.launchdarkly.dry_run,
                lease=lease,
                ordering=settings.ordering,
            ),
        )
        self._report = Report(self.worker, parts, self._launchdarkly.environment)
        self._report.bind(metrics)
        self._watchdog = Watchdog(self.worker, journal, settings.kafka.stall_timeout_seconds)
        self._admin = AdminServer(
            settings.admin.host,
            settings.admin.port,
            metrics,
            self._report.health,
            self._report.status,
        )
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Listen for signals and scrapes, and begin to look for the environment."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self.worker.hurry)
        await self._admin.start()
        for concern in settings_concerns(self._settings.ordering):
            structlog.get_logger().warning("ordering.unsafe", detail=concern)
        structlog.get_logger().info("admin.listening", url=self._admin.url)
        self._keeping = asyncio.create_task(self._keep_connected())
        # What exists by now stays: the collector need not walk it again, nor run so often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        _keep_freed_memory()
        return self

    async def work(self) -> None:
        """Run the worker under its watchdog, which ends it when it is stuck.

        Raises what the worker raises, or Stalled.
        """
        working = asyncio.create_task(self.worker.run())
        watching = asyncio.create_task(self._watchdog.run())
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
        finally:
            watching.cancel()
            working.cancel()
            # What is stuck may not end: the process does.
            await asyncio.wait({working, watching}, timeout=_ENDING_SECONDS)
        await working

    async def __aexit__(self, *_exception: object) -> None:
        """Close what was opened, whatever happened."""
        try:
            if self._keeping is not None:
                self._keeping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._keeping
        finally:
            await self._versions.close()
            await self._launchdarkly.close()
            await self._admin.stop()

    def _stop(self, number: int) -> None:
        """Drain at the first signal; at the second go at once, as the shell's convention says."""
        if self._report.stopping:
            os._exit(128 + number)
        self._report.stopping = True
        structlog.get_logger().info("ldsync.stopping", signal=signal.Signals(number).name)
        self.worker.stop()

    async def _keep_connected(self) -> None:
        """Look after the connection; a defect there ends the process instead of hanging it."""
        try:
            await self._launchdarkly.keep()
        except Exception:
            self.worker.stop()  # and `__aexit__` raises it
            raise


def _begin_at_zero(metrics: Metrics) -> None:
    """Show what can go wrong before it does: of a series that begins at 1 no increase is seen."""
    for why in RetryReason:
        metrics.retries[why.value].inc(0)
    for verdict in VERDICTS:
        if verdict.outcome is RecordOutcome.INVALID:
            metrics.dead_letters[verdict.reason].inc(0)
    for reason in REJECTIONS:
        metrics.rejected_changes[reason].inc(0)
        metrics.dead_letters[reason].inc(0)
    metrics.dead_letters[PARKED.reason].inc(0)


def _name_of_environment(settings: Settings) -> str:
    """How replicas call what they write to, before any of them has looked it up."""
    section = settings.launchdarkly
    keys = f"{section.project_key}/{section.environment_key}"
    return keys if section.project_key and section.environment_key else section.client_side_id


def _keep_freed_memory() -> None:
    """Have glibc keep what one chunk of records frees for the next, instead of giving it back.

    Giving back and asking again is work of the kernel, for every fetch and every reply. Another C
    library has no such switch, and is left as it is.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_FROM_HEAP)


def _dead_letters(settings: Settings) -> DeadLettersSettings:
    """A dry run writes nothing to Kafka either: what is invalid is counted and logged."""
    section = settings.dead_letters
    dry = settings.launchdarkly.dry_run
    return section.model_copy(update={"enabled": False}) if dry else section


def _budget(settings: Settings) -> Budget:
    section = settings.buffer
    return Budget(section.max_changes, section.max_bytes, section.resume_ratio)


def _schedule(settings: Settings, launchdarkly: Connection, rng: random.Random) -> Schedule:
    retry = settings.retry
    return Schedule(
        Backoff(retry.initial_seconds, retry.max_seconds),
        Backoff(retry.operator_initial_seconds, retry.operator_max_seconds, _OPERATOR_FLOOR),
        launchdarkly.pacing,
        rng,
        launchdarkly.environment.doubt,
    )


def _take_over_seconds(settings: Settings) -> float:
    """How long after an assignment a request of a previous owner may still be applied (R2).

    Who had our instance id, or that of whoever had the partitions before, may not have learnt yet
    that its place was taken; it begins writes until its lease ends, at most a session later (R4).
    """
    kafka = settings.kafka
    session = kafka.session_timeout_seconds if kafka.group_instance_id else 0.0
    return settings.ordering.settle_seconds + session


def _policy(settings: Settings) -> Policy:
    return Policy(
        max_in_flight=settings.launchdarkly.max_in_flight,
        settle_seconds=settings.ordering.settle_seconds,
        take_over_seconds=_take_over_seconds(settings),
        commit_interval_seconds=settings.kafka.commit_interval_seconds,
        drain_seconds=settings.shutdown.drain_seconds,
        commit_seconds=settings.shutdown.commit_seconds,
    )
