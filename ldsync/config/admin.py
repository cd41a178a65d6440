"""Where the admin endpoints are, for the health check: without the rest of the configuration.

A health check runs every few seconds and in its own process. It needs two keys, must not fail
because of others (the token may be readable only by the service), and must not be slow: neither
pydantic-settings nor the rest of the tree is imported or built.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from ldsync.config import sources
from ldsync.config.problems import ConfigError, from_validation
from ldsync.config.schema import all_keys
from ldsync.config.sections import AdminSettings, Section


class _Root(Section):
    """The part of the configuration that the health check looks at."""

    admin: AdminSettings = AdminSettings()


def load_admin(path: Path | None = None, environ: Mapping[str, str] | None = None) -> AdminSettings:
    """The table [admin], from the same sources and with the same precedence as everything.

    Raises:
        ConfigError: The file or a variable cannot be read, or one of the values is wrong.
    """
    environ = sources.environment() if environ is None else environ
    keys = all_keys(_Root)
    file = sources.from_file(path, environ, _Root)
    if not file.readable:
        raise ConfigError(file.problems)
    variables = sources.from_variables(environ, keys)
    if variables.problems:
        raise ConfigError(variables.problems)
    merged = {**file.values.get("admin", {}), **variables.values.get("admin", {})}
    try:
        return _Root.model_validate({"admin": merged}).admin
    except ValidationError as error:
        found = {**file.sources, **variables.sources}
        raise ConfigError(from_validation(error, {key.path: key for key in keys}, found)) from None
