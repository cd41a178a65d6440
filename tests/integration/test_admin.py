"""The admin endpoints on real sockets, asked by a real client."""

import asyncio
import errno
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from ldsync.telemetry.health import Check, Health
from ldsync.telemetry.healthcheck import check
from ldsync.telemetry.http import AdminError, AdminServer
from ldsync.telemetry.metrics import Metrics
from tests.support.openmetrics import families_of

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
WELL = Health(checks=(Check("ingest", 0.1234, 30), Check("flush", 2, 30)), ready=True)


class Subject:
    """A server, what it is to answer, and a client to ask it with."""

    def __init__(self) -> None:
        """Be well and have nothing to do."""
        self.metrics = Metrics()
        self.health = WELL
        self.status: Mapping[str, Any] = {"state": "running", "segments": []}
        self.server = AdminServer(
            "127.0.0.1", 0, self.metrics, lambda: self.health, lambda: self.status
        )
        self.client = aiohttp.ClientSession()

    async def get(self, path: str, **headers: str) -> aiohttp.ClientResponse:
        """Ask and read the answer."""
        response = await self.client.get(self.server.url + path, headers=headers)
        await response.read()
        return response


@pytest.fixture
async def admin() -> AsyncIterator[Subject]:
    """A started server on a free port."""
    subject = Subject()
    await subject.server.start()
    async with subject.client:
        yield subject
    await subject.server.stop()


async def test_metrics_are_served_as_text(admin: Subject) -> None:
    """What a plain scrape gets."""
    admin.metrics.records["delivered", ""].inc(3)
    response = await admin.get("/metrics")

    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert 'ldsync_records_total{outcome="delivered",reason=""} 3.0' in await response.text()


async def test_metrics_are_served_as_openmetrics_on_request(admin: Subject) -> None:
    """What Prometheus asks for first."""
    response = await admin.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    text = await response.text()

    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert "ldsync_records" in families_of(text)


async def test_metrics_can_be_filtered_by_name(admin: Subject) -> None:
    """`name[]` asks for some of them only."""
    response = await admin.get("/metrics?name[]=ldsync_pauses_total")
    series = [line for line in (await response.text()).splitlines() if line[0] != "#"]

    assert series == ["ldsync_pauses_total 0.0"]


async def test_gauges_are_read_when_asked_for(admin: Subject) -> None:
    """A gauge may be a function of what it describes."""
    buffered = [1, 2, 3]
    admin.metrics.buffered_changes.set_function(lambda: len(buffered))
    buffered.append(4)

    assert "ldsync_buffered_changes 4.0" in await (await admin.get("/metrics")).text()


@pytest.mark.parametrize("path", ["/healthz", "/livez"])
async def test_a_process_whose_loops_turn_is_alive(admin: Subject, path: str) -> None:
    """The answer names every loop and when it last turned."""
    response = await admin.get(path)

    assert response.status == 200
    assert await response.json() == {
        "status": "ok",
        "checks": {
            "ingest": {"age_seconds": 0.123, "limit_seconds": 30, "ok": True},
            "flush": {"age_seconds": 2, "limit_seconds": 30, "ok": True},
        },
    }


async def test_a_loop_that_hangs_is_not_alive(admin: Subject) -> None:
    """One is enough, and the answer says which."""
    admin.health = Health((Check("ingest", 0.1, 30), Check("flush", 30.5, 30)), ready=True)
    response = await admin.get("/healthz")

    assert response.status == 503
    body = await response.json()
    assert body["status"] == "stalled"
    assert {name: each["ok"] for name, each in body["checks"].items()} == {
        "ingest": True,
        "flush": False,
    }


async def test_liveness_does_not_depend_on_readiness(admin: Subject) -> None:
    """A restart would not bring Kafka or LaunchDarkly back."""
    admin.health = Health(WELL.checks, ready=False, reasons=("waiting for the consumer group",))

    assert (await admin.get("/healthz")).status == 200


async def test_a_process_that_joined_is_ready(admin: Subject) -> None:
    """Traffic of a rolling update may go on to the next one."""
    response = await admin.get("/readyz")

    assert response.status == 200
    body = await response.json()
    assert (body["status"], body["reasons"]) == ("ready", [])


async def test_a_process_that_is_not_ready_says_why(admin: Subject) -> None:
    """In words."""
    admin.health = Health(WELL.checks, ready=False, reasons=("waiting for the consumer group",))
    response = await admin.get("/readyz")

    assert response.status == 503
    body = await response.json()
    assert body["status"] == "not_ready"
    assert body["reasons"] == ["waiting for the consumer group"]
    assert set(body["checks"]) == {"ingest", "flush"}


@pytest.mark.parametrize(
    ("accept", "path", "kind"),
    [
        pytest.param("*/*", "/status", "application/json", id="curl"),
        pytest.param(BROWSER, "/status", "text/html", id="a browser"),
        pytest.param("application/json", "/status", "application/json", id="a program"),
        pytest.param("", "/status", "application/json", id="nothing said"),
        pytest.param("text/html;q=0", "/status", "application/json", id="anything but HTML"),
        pytest.param(
            "text/html;q=0.5, application/json", "/status", "application/json", id="rather JSON"
        ),
        pytest.param(
            "application/json; q=0.5, Text/HTML; q=0.9", "/status", "text/html", id="rather HTML"
        ),
        pytest.param("text/html;q=much", "/status", "application/json", id="no number"),
        pytest.param(BROWSER, "/status?format=json", "application/json", id="JSON by name"),
        pytest.param("*/*", "/status?format=html", "text/html", id="HTML by name"),
    ],
)
async def test_the_status_comes_in_the_form_that_is_asked_for(
    admin: Subject, accept: str, path: str, kind: str
) -> None:
    """People get a page, programs JSON, from one address."""
    response = await admin.get(path, Accept=accept)

    assert (response.status, response.content_type) == (200, kind)
    text = await response.text()
    assert text.startswith("<!doctype html>") is (kind == "text/html")


async def test_the_status_is_what_the_program_says(admin: Subject) -> None:
    """Asked anew every time."""
    admin.status = {"state": "draining", "segments": [{"key": "vip", "pending": 3}]}

    assert await (await admin.get("/status")).json() == admin.status


async def test_the_page_escapes_what_comes_from_outside(admin: Subject) -> None:
    """A segment's key and LaunchDarkly's messages are not ours."""
    script = "<script>alert('x')</script>"
    admin.status = {"segments": [{"key": script, "audience_id": script, "last_error": script}]}
    response = await admin.get("/status", Accept=BROWSER)
    text = await response.text()

    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;") == 3
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


async def test_the_start_page_links_to_everything(admin: Subject) -> None:
    """Every link of it leads somewhere."""
    text = await (await admin.get("/")).text()
    links = [part.partition('"')[0] for part in text.split('href="')[1:]]

    assert set(links) == {"status", "status?format=json", "metrics", "healthz", "readyz"}
    assert {(await admin.get(f"/{link}")).status for link in links} == {200}


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/status"])
async def test_no_answer_may_be_kept(admin: Subject, path: str) -> None:
    """A cached health is none."""
    response = await admin.get(path)

    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_requests_are_not_logged(admin: Subject, caplog: pytest.LogCaptureFixture) -> None:
    """Probes come every few seconds and say nothing."""
    caplog.set_level("DEBUG")
    await admin.get("/healthz")
    await admin.get("/no-such-page")

    assert [record.name for record in caplog.records if record.name.startswith("aiohttp")] == []


async def test_a_status_that_fails_stops_nothing(
    admin: Subject, caplog: pytest.LogCaptureFixture
) -> None:
    """The one request fails, with a trace in the log and none in the answer."""
    admin.status = {"state": object()}
    response = await admin.get("/status")

    assert response.status == 500
    assert "Traceback" not in await response.text()
    assert [record.name for record in caplog.records] == ["aiohttp.server"]
    assert (await admin.get("/healthz")).status == 200


async def test_the_health_check_understands_it(admin: Subject) -> None:
    """`ldsync healthcheck` and the server speak of the same things."""
    admin.health = Health(WELL.checks, ready=False, reasons=("draining",))
    live = await asyncio.to_thread(check, "127.0.0.1", admin.server.port, ready=False)
    ready = await asyncio.to_thread(check, "127.0.0.1", admin.server.port, ready=True)

    assert (live.healthy, ready.healthy) == (True, False)
    assert "draining" in ready.detail


async def test_port_0_takes_a_free_port() -> None:
    """Several instances on one machine, and tests, need not agree on numbers."""
    first, second = Subject(), Subject()
    assert first.server.port == 0, "nothing is listened on yet"
    async with first.client, second.client:
        await first.server.start()
        await second.server.start()

        assert first.server.port != second.server.port
        assert (await first.get("/healthz")).status == 200
        assert (await second.get("/healthz")).status == 200
        await first.server.stop()
        await second.server.stop()


async def test_after_stop_nobody_listens(admin: Subject) -> None:
    """And stopping again is fine."""
    url = admin.server.url
    await admin.server.stop()
    await admin.server.stop()

    with pytest.raises(aiohttp.ClientConnectorError):
        await admin.client.get(url)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9108"),
        ("0.0.0.0", "http://127.0.0.1:9108"),  # noqa: S104
        ("::", "http://[::1]:9108"),
        ("metrics.internal", "http://metrics.internal:9108"),
    ],
)
async def test_the_url_is_one_that_a_browser_can_open(host: str, url: str) -> None:
    """An address for "all" is no address to ask."""
    server = AdminServer(host, 9108, Metrics(), lambda: WELL, dict)

    assert server.url == url


async def test_a_port_in_use_is_explained(admin: Subject) -> None:
    """The operator learns what happened and which key to change."""
    port = admin.server.port
    other = AdminServer("127.0.0.1", port, Metrics(), lambda: WELL, dict)

    with pytest.raises(AdminError) as caught:
        await other.start()
    message = str(caught.value)
    assert f"127.0.0.1:{port}" in message
    assert "Address already in use. Another program listens there" in message
    assert "LDSYNC_ADMIN__PORT" in message


async def test_an_address_of_another_machine_is_explained() -> None:
    """As is the other thing that is easily wrong."""
    server = AdminServer("192.0.2.1", 0, Metrics(), lambda: WELL, dict)

    with pytest.raises(AdminError, match=r"192\.0\.2\.1.*LDSYNC_ADMIN__HOST") as caught:
        await server.start()
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == errno.EADDRNOTAVAIL


async def test_a_host_that_cannot_be_one_is_explained() -> None:
    """Whatever else is wrong, the keys to look at are named."""
    server = AdminServer("a" * 64, 0, Metrics(), lambda: WELL, dict)

    with pytest.raises(AdminError, match=r"Check admin\.host .LDSYNC_ADMIN__HOST. and admin\.port"):
        await server.start()
