"""An HTTP proxy on loopback: tunnels by CONNECT, forwards plain HTTP, and asks for a login."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.raw_server import raw_server


@dataclass(slots=True)
class ProxyServer:
    """What it was asked.

    Attributes:
        login: `user:password` that it wants; empty for anybody.
        refuse: A status to answer everything with; 0 for none.
        port: Where it listens.
        asked: First lines of the requests, in order.
        heads: Whole heads of the requests, in order.
    """

    login: str = ""
    refuse: int = 0
    port: int = 0
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request, and pass on everything behind it."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        self.asked.append(head.partition("\r\n")[0])
        wanted = base64.b64encode(self.login.encode()).decode()
        if self.login and f"proxy-authorization: basic {wanted}".lower() not in head.lower():
            writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
            return
        if self.refuse:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self.refuse)
            return
        method, target, _ = self.asked[-1].split(" ")
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        there, here = await asyncio.open_connection(url.hostname, url.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Go ahead\r\n\r\n")
        else:
            path = target.partition(url.netloc)[2]
            here.write(head.replace(target, path, 1).encode("latin-1"))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass_on(reader, here))
                tasks.create_task(_pass_on(there, writer))
        finally:
            here.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@contextlib.asynccontextmanager
async def proxy_server(login: str = "", refuse: int = 0) -> AsyncIterator[ProxyServer]:
    """Run a proxy."""
    proxy = ProxyServer(login, refuse)
    async with raw_server(proxy.serve) as port:
        proxy.port = port
        yield proxy
