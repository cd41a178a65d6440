"""The commands. No logic: each reads its options, calls one function and reports how that ended.

Exit codes: 0 done, 1 failed, 2 wrong usage, 69 a dependency cannot be reached, 78 the configuration
cannot be used. Every command imports what it needs when it runs: `ldsync run` must not pay for the
demo, nor the health check, which starts every few seconds, for anything.
"""

from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from ldsync import __version__
from ldsync.cli.common import EX_CONFIG, EX_UNAVAILABLE, ConfigFile, refuse
from ldsync.cli.events import check_events, explain

SIMULATOR_TOKEN = "api-demo-token"  # noqa: S105 - it opens nothing but the simulator
"""What the simulator accepts as a token unless told otherwise."""

app = typer.Typer(
    name="ldsync",
    help="Keeps LaunchDarkly segments in step with Segment Engage audiences, from Kafka.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(explain)
app.command("check-events")(check_events)


def main() -> None:
    """What the console script and `python -m ldsync` call."""
    app(prog_name="ldsync")


@app.command("version")
def show_version() -> None:
    """Show the version."""
    typer.echo(f"ldsync {__version__}")


def _version_option(value: bool) -> None:  # noqa: FBT001 - Typer's signature
    if value:
        show_version()
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_version_option
        ),
    ] = False,
) -> None:
    del version


@app.command()
def run(config: ConfigFile = None) -> None:
    """Consume events and write segments, until SIGTERM or Ctrl-C; then drain and exit."""
    from ldsync.config import ConfigError, load

    try:
        settings = load(config)
    except ConfigError as error:
        refuse(error)

    from ldsync.app import run as run_app

    raise typer.Exit(run_app(settings))


@app.command("config")
def show_config(config: ConfigFile = None) -> None:
    """Check the configuration and print what is in effect, without secrets."""
    from ldsync.config import ConfigError, load_with_sources
    from ldsync.config.effective import render

    try:
        loaded = load_with_sources(config)
    except ConfigError as error:
        refuse(error)
    typer.echo(render(loaded), nl=False)


@app.command()
def check(
    *,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """See whether Kafka and LaunchDarkly are ready for `ldsync run`; nothing is changed."""
    from ldsync.checks.report import check as run_checks
    from ldsync.checks.report import refused
    from ldsync.config import ConfigError, load

    try:
        settings = load(config)
    except ConfigError as error:
        if not as_json:
            refuse(error)
        typer.echo(refused(error).as_json())
        raise typer.Exit(EX_CONFIG) from None
    report = run_checks(settings)
    typer.echo(report.as_json() if as_json else report.as_text())
    raise typer.Exit(0 if report.passed else 1)


@app.command()
def healthcheck(
    *,
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Instead of admin.host.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Instead of admin.port.")
    ] = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it is ready, not only alive.")
    ] = False,
) -> None:
    """Ask a running ldsync how it is; exit with 0 if all is well, else with 1."""
    from ldsync.config import ConfigError, load_admin
    from ldsync.telemetry.healthcheck import check

    try:
        admin = load_admin(config)
    except ConfigError as error:
        typer.echo(f"ldsync: {error}", err=True)
        raise typer.Exit(1) from None
    verdict = check(host or admin.host, port or admin.port, ready=ready)
    typer.echo(verdict.detail, err=not verdict.healthy)
    raise typer.Exit(0 if verdict.healthy else 1)


@app.command()
def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8080,
    project: Annotated[str, typer.Option(help="Key of the project that exists.")] = "demo",
    environment: Annotated[str, typer.Option(help="Key of its environment.")] = "production",
    token: Annotated[str, typer.Option(help="API access token to accept.")] = SIMULATOR_TOKEN,
) -> None:
    """Serve a simulated LaunchDarkly, to try ldsync without an account."""
    from ldsync.demo.simulator import serve

    def announce(url: str) -> None:
        typer.echo(f"Simulated LaunchDarkly: {url}, project {project}, environment {environment}")

    try:
        _until_stopped(serve(host, port, project, environment, token, on_ready=announce))
    except OSError as error:
        typer.echo(f"ldsync: cannot listen on {host}:{port}: {error.strerror}", err=True)
        raise typer.Exit(1) from None


@app.command()
def generate(
    bootstrap_servers: Annotated[str, typer.Option(help="Kafka brokers.")] = "localhost:9092",
    topic: Annotated[str, typer.Option(help="Topic to write to.")] = "engage-events",
    rate: Annotated[float, typer.Option(min=0.1, help="Events per second.")] = 100.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events.")] = 1,
    events: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
) -> None:
    """Write generated Engage events to a topic, until Ctrl-C or the number asked for."""
    from ldsync.demo.feed import KafkaNotReady
    from ldsync.demo.generate import generate as write_events

    try:
        _until_stopped(write_events(bootstrap_servers, topic, rate, seed, events))
    except KafkaNotReady as error:
        typer.echo(f"ldsync: {error}", err=True)
        raise typer.Exit(EX_UNAVAILABLE) from None


@app.command()
def demo(
    *,
    events: Annotated[int, typer.Option(min=500, help="How many events to generate.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events.")] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")
    ] = False,
) -> None:
    """Run the whole way on this machine: broker, simulator, ldsync, and a check of the result."""
    from ldsync.demo.demo import run_demo

    raise typer.Exit(run_demo(events=events, keep=keep, seed=seed))


def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends, or Ctrl-C or SIGTERM cancel it, which is no failure.

    SIGTERM needs a handler: without one the first process of a container does not even see it.
    """
    import asyncio
    import signal
    from contextlib import suppress

    async def supervise() -> None:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(supervise())
