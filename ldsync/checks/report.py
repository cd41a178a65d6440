"""All findings together: asked at the same time, shown in order, for people and for programs."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from ldsync.checks.finding import Finding, State
from ldsync.checks.kafka import check_dead_letters, check_kafka
from ldsync.checks.launchdarkly import check_launchdarkly
from ldsync.checks.ordering import check_ordering
from ldsync.config.hidden import secrets_of
from ldsync.telemetry import log as logging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ldsync.config import ConfigError, Settings

#: What is asked, in the order of the report. They run at the same time and change nothing.
CHECKS: Final[Sequence[Callable[[Settings], Awaitable[list[Finding]]]]] = (
    check_kafka,
    check_dead_letters,
    check_launchdarkly,
    check_ordering,
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(finding.state is not State.FAILED for finding in self.findings)

    def as_text(self) -> str:
        """A line for each finding, and what to do below it."""
        width = max(len(finding.name) for finding in self.findings)
        return "\n".join(finding.as_text(width) for finding in self.findings)

    def as_json(self) -> str:
        """The same for programs: `{"passed": …, "findings": [{name, state, detail, advice}]}`."""
        findings = [
            {
                "name": finding.name,
                "state": finding.state.value,
                "detail": finding.detail,
                "advice": finding.advice,
            }
            for finding in self.findings
        ]
        document = {"passed": self.passed, "findings": findings}
        return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def check(settings: Settings) -> Report:
    """Look at everything that `ldsync run` needs with these settings.

    What parts of the program log meanwhile goes to standard error: the report stands alone.
    """
    logging.configure("warning", settings.log.format, secrets_of(settings), sys.stderr)
    return asyncio.run(_check(settings))


def refused(error: ConfigError) -> Report:
    """The report about a configuration that cannot be used: nothing else can be looked at."""
    return Report(
        tuple(
            Finding(problem.key, State.FAILED, problem.message, f"Source: {problem.source}")
            for problem in error.problems
        )
    )


async def _check(settings: Settings) -> Report:
    answers = await asyncio.gather(*(each(settings) for each in CHECKS))
    configuration = Finding("configuration", State.OK, "can be used")
    return Report((configuration, *(finding for found in answers for finding in found)))
