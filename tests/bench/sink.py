"""A LaunchDarkly that costs next to nothing: it believes everything and answers at once.

Every request body is decoded to count its operations, and every reply to a patch is as large as
that of a full segment (15,000 targets). Run as a process of its own, `python -m tests.bench.sink`;
the first line it prints is its port. It checks and keeps nothing: that is the simulator's work.
"""

import asyncio
import resource
import sys
import time
from typing import Any

import orjson

TARGETS = 15_000
_FILLER = b",".join(b'"member-%06d"' % number for number in range(TARGETS))


class Counts:
    """What was asked since the last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin again."""
        self.patches = self.operations = self.others = 0
        self.last_patch = 0.0

    def patch(self, body: bytes) -> list[str]:
        """Count a patch; return who is added by it."""
        added: list[str] = []
        for instruction in orjson.loads(body)["instructions"]:
            self.operations += len(instruction["values"])
            if instruction["kind"] == "addIncludedTargets":
                added += instruction["values"]
        self.patches += 1
        self.last_patch = time.monotonic()
        return added

    def document(self) -> dict[str, float]:
        """For `GET /counts`; `last_patch` is in monotonic seconds, the same for all processes."""
        cpu = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "patches": self.patches,
            "operations": self.operations,
            "others": self.others,
            "last_patch": self.last_patch,
            "cpu_seconds": cpu.ru_utime + cpu.ru_stime,
        }


class Connection(asyncio.Protocol):
    """One kept-alive connection; just enough HTTP/1.1 for one client that we know."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._received = bytearray()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        received = self._received
        received += data
        while (head := received.find(b"\r\n\r\n")) >= 0:
            length = 0
            line, *headers = bytes(received[:head]).split(b"\r\n")
            for header in headers:
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(received) < head + 4 + length:
                return
            body = bytes(received[head + 4 : head + 4 + length])
            del received[: head + 4 + length]
            method, path, _ = line.split(b" ")
            status, reply = self._answer(method, path.decode(), body)
            self._transport.write(
                b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                % (status, len(reply))
            )
            self._transport.write(reply)

    def _answer(self, method: bytes, path: str, body: bytes) -> tuple[int, bytes]:
        if path == "/counts":
            if method == b"DELETE":
                self._counts.reset()
            return 200, orjson.dumps(self._counts.document())
        if method == b"PATCH":
            return 200, _full_segment(path, self._counts.patch(body))
        self._counts.others += 1
        if method == b"POST":
            return 201, orjson.dumps({**orjson.loads(body), "version": 1})
        if path.startswith("/api/v2/segments/"):
            return 404, b'{"code":"not_found","message":"segment not found"}'
        return 200, orjson.dumps({"key": path.rpartition("/")[2]})


def _full_segment(path: str, added: list[str]) -> bytes:
    """The reply to a patch. It has whoever was added, at the end as in a list that grows."""
    # An entry of the filler is as long as a member: cut bytes, and the targets stay 15,000 or so.
    tail = orjson.dumps(added)[1:]
    filler = _FILLER[: len(_FILLER) - len(tail)].rpartition(b",")[0]
    return b'{"key":"%s","version":7,"unbounded":false,"included":[%s%s%s,"excluded":[]}' % (
        path.rpartition("/")[2].encode(),
        filler,
        b"," if added else b"",
        tail,
    )


async def serve() -> None:
    """Listen on a free port, tell which, and serve until the process is ended."""
    counts = Counts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counts), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1])
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
