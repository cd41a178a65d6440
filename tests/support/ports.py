"""Ports for servers of tests: chosen long before they are listened on, and given to nobody else."""

import contextlib
import fcntl
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_FIRST, _SHARE, _SHARES = 20_000, 500, 24
_LOCKS: list[IO[bytes]] = []  # kept open: they end with the process


def unused_port() -> int:
    """A TCP port that nothing listens on, below the range of outgoing connections.

    While a broker is down, a client that retries from that range could be given the broker's own
    port and, on the loopback interface, connect to itself: the broker could never come back.

    Every process of tests has a share of its own, and goes through it from one to the next: with
    some hundred ports of several processes, two that are drawn by lot would often be the same, and
    Java takes half a minute to listen on one.
    """
    while True:
        port = next(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _ports() -> Iterator[int]:
    first = _FIRST + _SHARE * _share()
    yield from itertools.cycle(range(first, first + _SHARE))


def _share() -> int:
    """The number of a share that no other process has; any of them if all are taken."""
    directory = Path(tempfile.gettempdir()) / f"ldsync-test-ports-{os.getuid()}"
    directory.mkdir(exist_ok=True)
    numbers = random.sample(range(_SHARES), _SHARES)
    for number in numbers:
        lock = (directory / str(number)).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            _LOCKS.append(lock)
            return number
    return numbers[0]


_PORTS = _ports()
