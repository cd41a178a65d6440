"""The commands of `ldsync`, called as people and programs call them."""

import os
import subprocess
import sys
from collections.abc import Mapping

from typer.testing import CliRunner, Result

from ldsync.cli import app


def call(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    """Call a command in this process, with these variables beside those of the process."""
    return CliRunner().invoke(app, arguments, env=dict(environ or {}), prog_name="ldsync")


def start(
    *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Call a command in a process of its own and wait for its end."""
    return run_python("-m", "ldsync", *arguments, environ=environ)


def run_python(
    *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this Python in a process of its own and wait for its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
