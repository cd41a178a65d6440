"""Configurations to begin a test with, and ways to write them down."""

from collections.abc import Mapping
from pathlib import Path

from ldsync.config import ConfigError, Problem, load

TOKEN = "api-6a1f-canary-token"
"""A token that is nowhere else in the repository, so that it can be searched for."""

REQUIRED: Mapping[str, str] = {
    "launchdarkly.api_token": f'"{TOKEN}"',
    "launchdarkly.project_key": '"web-shop"',
    "launchdarkly.environment_key": '"production"',
}
"""What must be given, by key, as TOML."""

REQUIRED_VARIABLES: Mapping[str, str] = {
    "LDSYNC_LAUNCHDARKLY__API_TOKEN": TOKEN,
    "LDSYNC_LAUNCHDARKLY__PROJECT_KEY": "web-shop",
    "LDSYNC_LAUNCHDARKLY__ENVIRONMENT_KEY": "production",
}
"""The same as environment variables."""


def write(path: Path, values: Mapping[str, str]) -> Path:
    """Write a TOML file of dotted keys (`kafka.topics`) with what is required, and these values.

    Args:
        path: A directory to put it in.
        values: TOML by dotted key; an empty text leaves out what is required.
    """
    lines = [f"{key} = {value}" for key, value in {**REQUIRED, **values}.items() if value]
    file = path / "config.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def problems_of(path: Path | None, environ: Mapping[str, str]) -> list[Problem]:
    """What `load` finds wrong; nothing if it returns settings."""
    try:
        load(path, environ)
    except ConfigError as error:
        return error.problems
    return []
