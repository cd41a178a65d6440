"""The configuration as a whole, and how it is put together from its sources."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ldsync.config import sections, sources
from ldsync.config.mappings import MappingSettings, not_too_many
from ldsync.config.problems import ConfigError, Problem, from_validation
from ldsync.config.rules import violations
from ldsync.config.schema import all_keys, list_keys
from ldsync.config.violation import Violation


class Settings(BaseSettings):
    """Everything that can be configured; pass on its sections, not the whole.

    `load` is how a process gets one. Made directly, it knows only what it is given (types and
    ranges are checked, rules between keys are not): it never looks at the environment.
    """

    model_config = SettingsConfigDict(
        strict=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    membership_mode: Literal["strict", "segment"] = Field(
        default="strict",
        description="strict: nothing is guessed; segment: as Segment's own destination decides.",
    )
    kafka: sections.KafkaSettings = sections.KafkaSettings()
    launchdarkly: sections.LaunchDarklySettings = sections.LaunchDarklySettings()
    batch: sections.BatchSettings = sections.BatchSettings()
    buffer: sections.BufferSettings = sections.BufferSettings()
    retry: sections.RetrySettings = sections.RetrySettings()
    naming: sections.NamingSettings = sections.NamingSettings()
    dead_letters: sections.DeadLettersSettings = sections.DeadLettersSettings()
    ordering: sections.OrderingSettings = sections.OrderingSettings()
    shutdown: sections.ShutdownSettings = sections.ShutdownSettings()
    admin: sections.AdminSettings = sections.AdminSettings()
    log: sections.LogSettings = sections.LogSettings()
    mappings: Annotated[
        tuple[MappingSettings, ...], Field(strict=False), BeforeValidator(not_too_many)
    ] = (MappingSettings(),)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take none of pydantic-settings' own sources: `load` hands in ours."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each value that somebody gave was found (by the path of its key)."""

    settings: Settings
    sources: Mapping[str, str]


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Put the configuration together and check all of it; see `load_with_sources`."""
    return load_with_sources(path, environ).settings


def load_with_sources(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Put the configuration together, check all of it, and say where each value is from.

    The environment wins over files of secrets, these over the TOML file, that over the defaults.

    Args:
        path: The TOML file; without it the one that `LDSYNC_CONFIG` names, if any.
        environ: The environment, if not that of the process.

    Raises:
        ConfigError: With every problem that was found.
    """
    return _put_together(_layers(path, environ), violations)


def load_part(
    tables: Collection[str],
    keys: Collection[str] = (),
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Put a part of the configuration together and check that: for tools that need no more.

    Everything else keeps its default, whatever was given. Names that do not exist are problems
    here as well: one of them may be a misspelt key of this part.

    Args:
        tables: Tables, lists of them and keys at the top of the file that are needed and must be
            right, by name: `kafka`.
        keys: Other keys that are used if they are given, by path: `launchdarkly.project_key`.
        path: As for `load_with_sources`.
        environ: As for `load_with_sources`.

    Raises:
        ConfigError: With every problem that was found in this part.
    """

    def is_needed(key: str) -> bool:
        return key in keys or _top(key) in tables

    layers = _layers(path, environ)
    known = {key.path for key in all_keys(Settings)}
    for layer in layers:
        for key in [key for key in layer.sources if not is_needed(key)]:
            layer.drop(key)
        layer.problems = [
            problem
            for problem in layer.problems
            if problem.key not in known or is_needed(problem.key)
        ]

    def checked(settings: Settings) -> Iterator[Violation]:
        for violation in violations(settings):
            if all(_top(key) in tables for key in violation.keys):
                yield violation

    return _put_together(layers, checked).settings


def _top(key: str) -> str:
    """The table, list or key at the top of the file that a key is in: `mappings[2].name`."""
    return key.partition(".")[0].partition("[")[0]


def _layers(path: Path | None, environ: Mapping[str, str] | None) -> list[sources.Layer]:
    """The sources, the first of which wins."""
    environ = sources.environment() if environ is None else environ
    return [
        sources.from_environment(environ, Settings),
        sources.from_secret_files(environ, Settings),
        sources.from_file(path, environ, Settings),
    ]


def _put_together(
    layers: list[sources.Layer], rules: Callable[[Settings], Iterable[Violation]]
) -> Loaded:
    """Merge the layers and check the result.

    Raises:
        ConfigError: With every problem that was found.
    """
    found: dict[str, str] = {}
    for layer in reversed(layers):
        found |= layer.sources
    problems = [problem for layer in reversed(layers) for problem in layer.problems]
    settings, wrong = _validated(layers, found)
    problems += wrong
    # Without the file most rules would complain of what it says: only noise beside the cause.
    if all(layer.readable for layer in layers):
        problems += _broken_rules(
            rules(settings), found, known_wrong={problem.key for problem in problems}
        )
    if problems:
        raise ConfigError(problems)
    return Loaded(settings, found)


def _validated(
    layers: list[sources.Layer], found: Mapping[str, str]
) -> tuple[Settings, list[Problem]]:
    """The settings and what is wrong with them.

    What is wrong is left out of the settings, so that the rules between keys can be applied to the
    rest, and everything is reported at once.
    """
    try:
        return _merged(layers), []
    except ValidationError as error:
        keys = {key.path: key for key in all_keys(Settings)}
        inner = {key.path: key for keys in list_keys(Settings).values() for key in keys}
        problems = from_validation(error, keys | inner, found)
    for problem in problems:
        for layer in layers:
            layer.drop(problem.key)
    return _merged(layers), problems


def _merged(layers: list[sources.Layer]) -> Settings:
    """Have pydantic-settings merge the layers, the first of which wins, key by key."""
    merged = tuple(InitSettingsSource(Settings, layer.values) for layer in layers)
    # Without pydantic's plugin mypy takes a model's fields for all that its constructor knows.
    return Settings(_build_sources=(merged, {}))  # type: ignore[call-arg]


def _broken_rules(
    broken: Iterable[Violation], found: Mapping[str, str], known_wrong: set[str]
) -> list[Problem]:
    problems = []
    for violation in broken:
        if known_wrong.isdisjoint(violation.keys):
            key, *others = violation.keys
            given = "; ".join(
                f"{other} is from {found[other]}" for other in others if other in found
            )
            message = f"{violation.message} [{given}]" if given else violation.message
            source = found.get(key.partition("[")[0], "not set")
            problems.append(Problem(key, source, message))
    return problems
