"""The cable: what it lets through, and what it must never deliver later."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Cable
from tests.support.eventually import eventually


class Far:
    """A server at the end of the cable that writes down what it gets and answers each piece."""

    def __init__(self) -> None:
        self.got = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the other end closes."""
        while piece := await reader.read(1000):
            self.got += piece
            writer.write(b"yes")
        writer.close()


@pytest.fixture
async def far() -> Far:
    """Who is at the end."""
    return Far()


@pytest.fixture
async def cable(far: Far) -> AsyncIterator[Cable]:
    """A cable that leads there, whole."""
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    cable = Cable(server.sockets[0].getsockname()[1])
    await cable.start()
    yield cable
    await cable.stop()
    server.close()


async def test_a_whole_cable_carries_both_ways_from_any_loopback_address(
    cable: Cable, far: Far
) -> None:
    """The address is how the simulator tells processes apart."""
    reader, writer = await asyncio.open_connection("127.1.0.7", cable.port)
    writer.write(b"hello")
    assert await reader.read(100) == b"yes"
    assert far.got == b"hello"
    writer.close()


async def test_what_was_sent_into_a_silent_cable_never_arrives(cable: Cable, far: Far) -> None:
    """It would arrive later than any time-out foresees: connections are reset when it is mended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", cable.port)
    writer.write(b"before")
    await reader.read(100)
    cable.cut(silent=True)
    writer.write(b"lost")
    await writer.drain()
    cable.mend()
    with pytest.raises(ConnectionError):
        await _ask(reader)
    later_reader, later = await asyncio.open_connection("127.0.0.1", cable.port)
    later.write(b"after")
    assert await later_reader.read(100) == b"yes"
    assert far.got == b"beforeafter"
    later.close()


async def test_a_cable_that_is_cut_aloud_resets_what_is_there_and_what_comes(
    cable: Cable, far: Far
) -> None:
    """Until it is mended."""
    reader, _writer = await asyncio.open_connection("127.0.0.1", cable.port)
    await asyncio.sleep(0)
    cable.cut(silent=False)
    with pytest.raises(ConnectionError):
        await _ask(reader)

    async def refused() -> bool:
        try:
            new_reader, new = await asyncio.open_connection("127.0.0.1", cable.port)
            new.write(b"x")
            return await new_reader.read(100) == b""
        except ConnectionError:
            return True

    await eventually(refused, "new connections are reset")
    assert far.got == b""


async def _ask(reader: asyncio.StreamReader) -> None:
    if await reader.read(100) == b"":
        raise ConnectionResetError
