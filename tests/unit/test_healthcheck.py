"""The health check, asked of real servers."""

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ldsync.telemetry.healthcheck import check
from tests.support.commands import call, start


@contextmanager
def admin_server(answers: dict[str, tuple[int, str]]) -> Iterator[int]:
    """A server that gives these answers by path; 404 to everything else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, "not found"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its signature
            """Tests are silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def peer(answer: bytes | None) -> Iterator[int]:
    """A socket that answers every connection with these bytes, or never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                if answer is None:
                    connection.recv(1)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_200_is_healthy() -> None:
    """Liveness asks /healthz."""
    with admin_server({"/healthz": (200, '{"ok":true}'), "/readyz": (503, "")}) as port:
        verdict = check("127.0.0.1", port, ready=False)

    assert verdict.healthy
    assert verdict.detail == f'127.0.0.1:{port}/healthz answered 200: {{"ok":true}}'


def test_readiness_asks_another_path() -> None:
    """A replica that drains is alive and not ready; the answer says why."""
    with admin_server({"/healthz": (200, "ok"), "/readyz": (503, "draining")}) as port:
        verdict = check("127.0.0.1", port, ready=True)

    assert not verdict.healthy
    assert verdict.detail.endswith("/readyz answered 503: draining")


@pytest.mark.parametrize("status", [204, 302, 404, 500, 503])
def test_everything_but_200_is_unhealthy(status: int) -> None:
    """Another program on that port is not a healthy ldsync, and redirects are not followed."""
    with admin_server({"/healthz": (status, "")}) as port:
        assert not check("127.0.0.1", port, ready=False).healthy


def test_an_address_for_all_is_asked_on_the_loopback() -> None:
    """In the image the endpoints listen on 0.0.0.0, which is no address to connect to."""
    with admin_server({"/healthz": (200, "ok")}) as port:
        assert check("0.0.0.0", port, ready=False).healthy  # noqa: S104 - nothing is bound


def test_no_server_is_unhealthy() -> None:
    """A refused connection is an answer of sorts, not a traceback."""
    verdict = check("127.0.0.1", free_port(), ready=False)

    assert not verdict.healthy
    assert "refused" in verdict.detail


def test_an_unknown_host_is_unhealthy() -> None:
    """Neither is a name that does not resolve."""
    assert not check("nowhere.invalid", 9108, ready=False).healthy


@pytest.mark.parametrize("host", ["two words", "a" * 64, "a..b"])
def test_a_host_that_can_be_no_name_is_unhealthy(host: str) -> None:
    """It is said so in a line, like everything that prevents an answer."""
    verdict = check(host, 9108, ready=False)

    assert not verdict.healthy
    assert verdict.detail.startswith(f"no answer from {host}:9108/healthz: ")


def test_a_server_that_speaks_no_http_is_unhealthy() -> None:
    """Some other program may have taken the port."""
    with peer(b"220 mail ready\r\n") as port:
        assert not check("127.0.0.1", port, ready=False).healthy


def test_a_server_that_does_not_answer_is_unhealthy_in_time() -> None:
    """A frozen process accepts connections and nothing more."""
    with peer(None) as port:
        verdict = check("127.0.0.1", port, ready=False, timeout=0.05)

    assert not verdict.healthy
    assert "timed out" in verdict.detail


def test_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is for the way to LaunchDarkly, never for the loopback."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with admin_server({"/healthz": (200, "ok")}) as port:
        assert check("127.0.0.1", port, ready=False).healthy


def test_the_health_check_finds_the_port_in_the_configuration(tmp_path: Path) -> None:
    """From the same sources as everything; nothing else needs to be configured, or be right."""
    file = tmp_path / "config.toml"
    with admin_server({"/healthz": (200, "ok")}) as port:
        file.write_text(f"colour = 1\n[admin]\nhost = '0.0.0.0'\nport = {port}", encoding="utf-8")
        in_file = call("healthcheck", "--config", str(file))
        in_environment = call("healthcheck", environ={"LDSYNC_ADMIN__PORT": str(port)})

    assert (in_file.exit_code, in_environment.exit_code) == (0, 0)


def test_options_of_the_health_check_win() -> None:
    """For a check from outside the container."""
    with admin_server({"/readyz": (200, "ok")}) as port:
        options = ["--ready", "--host", "127.0.0.1", "--port", str(port)]
        result = call("healthcheck", *options, environ={"LDSYNC_ADMIN__PORT": "1"})

    assert result.exit_code == 0


def test_a_failed_health_check_exits_with_1_and_says_why() -> None:
    """Docker and `kubectl describe` show what it prints."""
    with admin_server({"/readyz": (503, "draining")}) as port:
        refused = call("healthcheck", "--ready", environ={"LDSYNC_ADMIN__PORT": str(port)})
    silent = start("healthcheck", "--port", str(free_port()))

    assert (refused.exit_code, silent.returncode) == (1, 1)
    assert "answered 503: draining" in refused.stderr
    assert "refused" in silent.stderr
    assert "Traceback" not in silent.stderr


@pytest.mark.parametrize(
    ("content", "host", "expected"),
    [
        pytest.param("[admin]\nport = '9108'", "::1", "admin.port", id="a wrong port"),
        pytest.param("[admin\n", "::1", "is not TOML", id="no TOML"),
        pytest.param("", "a\udcff", "admin.host", id="a host that is no text"),
    ],
)
def test_a_health_check_that_cannot_know_the_port_fails(
    tmp_path: Path, content: str, host: str, expected: str
) -> None:
    """With 1, because 2 and more mean nothing to those who ask."""
    file = tmp_path / "config.toml"
    file.write_text(content, encoding="utf-8")

    result = call("healthcheck", "--config", str(file), environ={"LDSYNC_ADMIN__HOST": host})

    assert result.exit_code == 1
    assert expected in result.stderr
