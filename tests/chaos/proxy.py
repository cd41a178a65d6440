"""A cable that can be pulled: a TCP proxy on the loopback interface that rewrites nothing."""

import asyncio
import contextlib
import socket
import struct

from tests.support.ports import unused_port

_PIECE = 65_536


class Cable:
    """Leads everything that connects to `port`, on any loopback address, to another port.

    Attributes:
        port: Where it listens. It stays the same, whatever happens to the cable.
        goal: The port that it leads to.
    """

    def __init__(self, goal: int = 0) -> None:
        self._socket = _bound()
        self.port: int = self._socket.getsockname()[1]
        self.goal = goal
        self._server: asyncio.Server | None = None
        self._whole = asyncio.Event()
        self._whole.set()
        self._refusing = False
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, sock=self._socket)

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self._socket.close()
        self._drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, *, silent: bool) -> None:
        """Let nothing through any more.

        Silent, connections stay and new ones are taken, and nothing moves on them. Otherwise all
        are reset, and so is every new one.
        """
        self._whole.clear()
        self._refusing = not silent
        if not silent:
            self._drop()

    def mend(self) -> None:
        """Let everything through again, but nothing that was on its way while it was cut.

        What waited in the cable would otherwise arrive later than any time-out foresees.
        """
        if not self._whole.is_set():
            self._refusing = False
            self._drop()
            self._whole.set()

    def _drop(self) -> None:
        for end in list(self._ends):
            _reset(end)
        self._ends.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._ends.add(writer)
        try:
            await self._lead(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            _reset(writer)
            self._ends.discard(writer)
            self._tasks.discard(task)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            return
        await self._whole.wait()
        if writer.is_closing():
            return
        there, beyond = await asyncio.open_connection("127.0.0.1", self.goal)
        self._ends.add(beyond)
        ways = [
            asyncio.create_task(self._carry(reader, beyond)),
            asyncio.create_task(self._carry(there, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            _reset(beyond)
            self._ends.discard(beyond)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_PIECE):
            await self._whole.wait()
            if writer.is_closing():
                return
            writer.write(piece)
            await writer.drain()


def _reset(end: asyncio.StreamWriter) -> None:
    """Break a connection without sending what waits in it."""
    if end.transport.is_closing():
        return
    connection = end.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()


def _bound() -> socket.socket:
    """A socket with a port of all loopback addresses, which nobody else can be given any more."""
    while True:
        taken = socket.socket()
        try:
            taken.bind(("0.0.0.0", unused_port()))  # noqa: S104
        except OSError:
            taken.close()
        else:
            return taken
