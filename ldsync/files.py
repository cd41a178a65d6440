"""How many files and connections the process may have open at once (`ulimit -n`).

Without enough of them it starts and then fails at random: a connection cannot be opened, another
one is taken for lost. So it is looked at first: what cannot work is an error, what may become tight
a warning. The soft limit, which is often 1024 or less for the sake of programs that wait by
`select`, is raised to the hard one, as far as that is needed.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ldsync.config import Settings

LEAST: Final = 32
"""Python, the event loop, the admin port and one connection of each sort."""

_OWN: Final = 32
_BROKERS: Final = 12
_CLIENTS: Final = 5
"""Of Kafka: the group member, and those that read history, write and look up dead letters."""


class TooFewFiles(Exception):
    """The process may not open enough files to work at all; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Files:
    """How many may be open at once, and how many are enough for a cluster of a dozen brokers."""

    allowed: int
    enough: int

    @property
    def concern(self) -> str:
        """What may go wrong, in words; empty if there are enough."""
        if self.allowed >= self.enough:
            return ""
        return (
            f"this process may have {self.allowed} files and connections open, and may need "
            f"{self.enough}: connections that cannot be opened are tried again, so nothing is lost "
            f"but time. Raise the limit (ulimit -n {self.enough}, LimitNOFILE=, --ulimit nofile=)"
        )


def look(settings: Settings) -> Files:
    """Raise the limit as far as is needed and allowed, and say what it is then.

    Raises:
        TooFewFiles: nothing could work.
    """
    brokers = max(_BROKERS, 2 * settings.kafka.bootstrap_servers.count(",") + 2)
    # Redis is asked by each write, like LaunchDarkly.
    enough = _OWN + _CLIENTS * brokers + 2 * settings.launchdarkly.max_in_flight
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = enough if soft == resource.RLIM_INFINITY else soft
    if allowed < enough:
        allowed = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < LEAST:
        raise TooFewFiles(
            f"this process may have {allowed} files and connections open at once, too few to work "
            f"at all. Raise the limit to {enough} (ulimit -n {enough}, LimitNOFILE=, "
            "--ulimit nofile=)"
        )
    return Files(allowed, enough)
