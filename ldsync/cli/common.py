"""What commands have in common: the option for the file, exit codes, how a refusal is said."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from ldsync.config import ConfigError

EX_UNAVAILABLE = 69
"""Something that is needed does not answer (`EX_UNAVAILABLE` of sysexits.h)."""
EX_CONFIG = 78
"""The configuration cannot be used (`EX_CONFIG` of sysexits.h)."""

ADVICE = """\
Nothing was started. Correct what is named above and try again: config.example.toml explains every
key, and `ldsync config` checks and shows the configuration without starting anything."""

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with the configuration, else the one that LDSYNC_CONFIG names. "
        "LDSYNC_<SECTION>__<KEY> in the environment wins over it.",
    ),
]


def refuse(error: "ConfigError") -> NoReturn:
    """List what is wrong with the configuration, and exit."""
    typer.echo(f"ldsync: {error.listing()}\n{ADVICE}", err=True)
    raise typer.Exit(EX_CONFIG)


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what went wrong, and exit."""
    typer.echo(f"ldsync: {message}", err=True)
    raise typer.Exit(code)
