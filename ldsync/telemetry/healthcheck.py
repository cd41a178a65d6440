"""`ldsync healthcheck`: ask a running ldsync how it is, so that an image needs no curl.

Standard library only, because it runs every few seconds in a process of its own. And `http.client`
rather than `urllib.request`, which would send the question to the proxy of `HTTP_PROXY`.
"""

import http.client
from contextlib import closing
from dataclasses import dataclass

TIMEOUT_SECONDS = 3.0
"""Less than the 5 s that Docker and Kubernetes are usually told to wait for a check."""

_LONGEST_ANSWER = 500
# An address to listen on that means "all"; one is asked.
_ASKED_INSTEAD = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all is well, and what was answered or what prevented an answer."""

    healthy: bool
    detail: str


def check(host: str, port: int, *, ready: bool, timeout: float = TIMEOUT_SECONDS) -> Verdict:
    """Ask `/healthz` (do the loops turn?) or, if `ready`, `/readyz` (has it joined the group?).

    Args:
        host: Where the admin endpoints listen; an address for "all" is asked on the loopback.
        port: Their port.
        ready: Ask for readiness instead of liveness.
        timeout: Seconds to wait for the connection and for every part of the answer.
    """
    path = "/readyz" if ready else "/healthz"
    asked = _ASKED_INSTEAD.get(host, host)
    try:
        with closing(http.client.HTTPConnection(asked, port, timeout=timeout)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            answer = response.read(_LONGEST_ANSWER).decode("utf-8", "replace").strip()
    # UnicodeError: a host that can be no name.
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        return Verdict(healthy=False, detail=f"no answer from {host}:{port}{path}: {error!r}")
    healthy = response.status == http.client.OK
    return Verdict(healthy, f"{host}:{port}{path} answered {response.status}: {answer}")
