"""The way to LaunchDarkly: proxies, authorities, and what is put together from the settings."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from ldsync.config import LaunchDarklySettings
from ldsync.config.secrets import FileSecret
from ldsync.demo.simulator import Simulator
from ldsync.launchdarkly import token as token_module
from ldsync.launchdarkly.connection import Connection
from ldsync.launchdarkly.reply import Answer, NoAnswer, Reply, Silence
from ldsync.telemetry.metrics import Metrics
from tests.support.certificates import Certificates, make_certificates
from tests.support.eventually import eventually
from tests.support.proxy_server import proxy_server
from tests.support.raw_server import raw_server, read_request

TOKEN = "api-55555555-test"
PASSWORD = "pr0xy-p@ss"
ROUTE = "/api/v2/projects"


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of the tests says."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def connect(url: str, **settings: Any) -> Connection:
    """A connection to that address."""
    settings = {"api_token": SecretStr(TOKEN), "timeout_seconds": 3.0, **settings}
    settings |= {"base_url": url, "project_key": "p", "environment_key": "e"}
    section = LaunchDarklySettings.model_validate(settings)
    return Connection(section, Metrics(), random.Random(1))


async def ask(connection: Connection) -> Answer:
    """One request, and the end of the connection."""
    try:
        return await connection.client.request("GET", ROUTE, {})
    finally:
        await connection.close()


def detail(answer: Answer) -> str:
    """Why there was no answer; nothing was sent to LaunchDarkly."""
    assert isinstance(answer, NoAnswer)
    assert (answer.kind, answer.ambiguous_since) == (Silence.CONNECTION, None)
    return answer.detail


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A LaunchDarkly that behaves."""
    async with Simulator(project="p", environment="e", token=TOKEN) as sim:
        yield sim


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and a server that it vouches for."""
    return make_certificates(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def tls_server(certificates: Certificates) -> AsyncIterator[int]:
    """A server that answers every request, by TLS."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.keystore)
    async with raw_server(answer, context) as port:
        yield port


async def test_an_authority_of_ones_own_is_trusted(certificates: Certificates) -> None:
    """`launchdarkly.ca_file`, and nobody else is trusted then."""
    async with tls_server(certificates) as port:
        url = f"https://localhost:{port}"
        trusted = await ask(connect(url, ca_file=str(certificates.authority)))
        unknown = await ask(connect(url))
        other = await ask(connect(url, ca_file=str(certificates.client_certificate)))
    assert isinstance(trusted, Reply)
    assert trusted.status == 200
    assert "certificate" in detail(unknown).lower()
    assert "certificate" in detail(other).lower()


async def test_requests_go_through_a_proxy_with_a_login(sim: Simulator) -> None:
    """Its password is in no log."""
    async with proxy_server(f"user:{PASSWORD}") as proxy:
        address = f"http://user:pr0xy-p%40ss@127.0.0.1:{proxy.port}"
        with capture_logs() as logs:
            answer = await ask(connect(sim.url, proxy=SecretStr(address)))
    assert isinstance(answer, Reply)
    assert answer.status == 200
    assert proxy.asked == [f"GET {sim.url}{ROUTE} HTTP/1.1"]
    (line,) = [line for line in logs if line["event"] == "launchdarkly.proxy"]
    assert line["proxy"] == f"127.0.0.1:{proxy.port}"
    assert "pr0xy" not in repr(logs)


async def test_tls_goes_through_a_tunnel(certificates: Certificates) -> None:
    """The proxy sees where to, and neither token nor request."""
    async with tls_server(certificates) as port, proxy_server() as proxy:
        settings = {
            "ca_file": str(certificates.authority),
            "proxy": SecretStr(f"http://127.0.0.1:{proxy.port}"),
        }
        answer = await ask(connect(f"https://localhost:{port}", **settings))
    assert isinstance(answer, Reply)
    assert proxy.asked == [f"CONNECT localhost:{port} HTTP/1.1"]
    assert TOKEN not in proxy.heads[0]


async def test_the_proxy_of_the_environment_is_used(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the setting says none."""
    async with proxy_server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert isinstance(await ask(connect(sim.url)), Reply)
        assert len(proxy.asked) == 1
        assert isinstance(await ask(connect(sim.url, proxy=SecretStr("none"))), Reply)
        assert len(proxy.asked) == 1


async def test_a_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for other programs; the request goes its own way."""
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    with capture_logs() as logs:
        connect("http://127.0.0.1:1")
    assert [(line["event"], line["origin"]) for line in logs] == [
        ("launchdarkly.proxy_ignored", "ALL_PROXY")
    ]


@pytest.mark.parametrize(("status", "login"), [(407, "user:other"), (502, "")])
async def test_a_proxy_that_refuses_a_tunnel_is_told_and_nothing_was_sent(
    certificates: Certificates, status: int, login: str
) -> None:
    """R1: the members need not wait, for LaunchDarkly never heard of it."""
    async with proxy_server(login, refuse=status if status != 407 else 0) as proxy:
        address = f"http://user:pr0xy-p%40ss@127.0.0.1:{proxy.port}"
        words = detail(await ask(connect("https://localhost:9", proxy=SecretStr(address))))
    assert f"the proxy answered {status}" in words
    assert "launchdarkly.proxy" in words
    assert "pr0xy" not in words


async def test_a_proxy_that_is_not_there_is_told() -> None:
    """Its password is not part of what is said."""
    address = "http://user:pr0xy-p%40ss@127.0.0.1:9"
    words = detail(await ask(connect("https://localhost:9", proxy=SecretStr(address))))
    assert "127.0.0.1:9" in words
    assert "pr0xy" not in words


async def test_a_token_that_is_renewed_ends_what_the_old_one_was_refused_for(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that is closed for an hour opens as soon as the file holds another token."""
    monkeypatch.setattr(token_module, "CHECK_SECONDS", 0.01)
    file = tmp_path / "token"
    file.write_text("api-66666666-old", encoding="utf-8")
    connection = connect(sim.url, api_token=FileSecret("api-66666666-old", file))
    keeping = asyncio.create_task(connection.keep())
    try:
        connection.pacing.close_until(asyncio.get_running_loop().time() + 3600, "refused")
        file.write_text(TOKEN, encoding="utf-8")
        await eventually(lambda: connection.environment.resolved, "the environment is found")
        await eventually(lambda: connection.pacing.open_at == 0.0, "the gate is open")
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await connection.close()
