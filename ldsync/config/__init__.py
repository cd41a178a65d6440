"""Configuration: a TOML file, the environment and files of secrets become one checked `Settings`.

The only package that knows pydantic, and the only reader of `os.environ`. `sections` and `mappings`
have the keys, `schema` lists them, `sources` reads, `values` and `rules` check, `problems`
explains, `settings` puts everything together and `effective` writes it down again.
"""

from typing import TYPE_CHECKING

from ldsync.config.admin import load_admin
from ldsync.config.problems import ConfigError, Problem
from ldsync.config.sections import (
    AdminSettings,
    BatchSettings,
    BufferSettings,
    DeadLettersSettings,
    KafkaSettings,
    LaunchDarklySettings,
    LogSettings,
    NamingSettings,
    OrderingSettings,
    RetrySettings,
    ShutdownSettings,
)

if TYPE_CHECKING:
    from ldsync.config.mappings import FromPath, MappingSettings
    from ldsync.config.settings import Loaded, Settings, load, load_part, load_with_sources
else:

    def __getattr__(name: str) -> object:
        """Import what needs pydantic-settings only when asked: the health check never does."""
        if name in {"FromPath", "MappingSettings"}:
            from ldsync.config import mappings  # noqa: PLC0415 - that is the point

            return getattr(mappings, name)
        if name in {"Loaded", "Settings", "load", "load_part", "load_with_sources"}:
            from ldsync.config import settings  # noqa: PLC0415 - that is the point

            return getattr(settings, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AdminSettings",
    "BatchSettings",
    "BufferSettings",
    "ConfigError",
    "DeadLettersSettings",
    "FromPath",
    "KafkaSettings",
    "LaunchDarklySettings",
    "Loaded",
    "LogSettings",
    "MappingSettings",
    "NamingSettings",
    "OrderingSettings",
    "Problem",
    "RetrySettings",
    "Settings",
    "ShutdownSettings",
    "load",
    "load_admin",
    "load_part",
    "load_with_sources",
]
