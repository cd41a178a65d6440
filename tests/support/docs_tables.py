"""What the documentation repeats of the code, rendered from the code.

`python -m tests.support.docs_tables` prints it; with `--write` it replaces the tables between the
markers in `README.md` (`<!-- config:begin -->` … `<!-- config:end -->`, and the same with
`metrics`) and writes `config.example.toml`. `tests/unit/test_docs_config.py` compares.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from ldsync.config import Settings
from ldsync.config.effective import toml_value
from ldsync.config.schema import FILE_SUFFIX, Key, keys_of, lists_of, sections_of
from ldsync.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
EXAMPLE = ROOT / "config.example.toml"

_EXAMPLE_BEGINS = """\
# The configuration of ldsync: every key, with its default.
#
# Start with `ldsync run --config FILE`, or name the file in LDSYNC_CONFIG. Every key but those of
# [[mappings]] can also be given in the environment, as LDSYNC_<SECTION>__<KEY>, which wins over the
# file; lists then have commas between their entries. Secrets are better kept out of this file: give
# them in the environment or in files of their own, named by LDSYNC_<SECTION>__<KEY>_FILE.
# Durations are seconds, sizes are bytes. Unknown keys are errors. `ldsync config` shows the result.
"""


def config_table() -> str:
    """The reference of the configuration as Markdown: a table for every table of the file."""
    parts = [_markdown_table(keys_of("", Settings))]
    for name, model in sections_of(Settings).items():
        parts += [f"**`[{name}]`** {model.__doc__}", _markdown_table(keys_of(name, model))]
    for name, model in lists_of(Settings).items():
        parts += [f"**`[[{name}]]`** {model.__doc__}", _markdown_table(keys_of(name, model))]
    return "\n\n".join(parts)


def metrics_table() -> str:
    """The reference of the metrics as Markdown, in the order of their declaration."""
    rows = [
        (f"`{one.name}`", one.type, ", ".join(f"`{label}`" for label in one.labels), one.help)
        for one in Metrics(CollectorRegistry()).definitions
    ]
    return _markdown(("metric", "type", "labels", "meaning"), rows)


def example_file() -> str:
    """The text of `config.example.toml`."""
    parts = [_EXAMPLE_BEGINS, *(_example(key) for key in keys_of("", Settings))]
    for name, model in sections_of(Settings).items():
        parts.append(f"\n# {model.__doc__}\n[{name}]")
        parts += [_example(key) for key in keys_of(name, model)]
    for name, model in lists_of(Settings).items():
        parts.append(f"\n# {model.__doc__}\n# They cannot be given in the environment.\n[[{name}]]")
        parts += [_example(key) for key in keys_of(name, model)]
    return "\n".join(parts) + "\n"


TABLES: dict[str, Callable[[], str]] = {"config": config_table, "metrics": metrics_table}


def between_markers(text: str, name: str) -> str:
    """What stands between the markers of a table.

    Raises:
        ValueError: The markers are missing.
    """
    begin, end = _span(text, name)
    return text[begin:end].strip()


def with_table(text: str, name: str, table: str) -> str:
    """The text, with what stands between the markers of a table replaced.

    Raises:
        ValueError: The markers are missing.
    """
    begin, end = _span(text, name)
    return f"{text[:begin]}\n\n{table}\n\n{text[end:]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write what is rendered."""
    parser = argparse.ArgumentParser(description="Render the tables of the documentation.")
    parser.add_argument("--write", action="store_true", help="write README.md and the example")
    if not parser.parse_args(arguments).write:
        sys.stdout.write("\n\n".join([*(render() for render in TABLES.values()), example_file()]))
        return 0
    EXAMPLE.write_text(example_file(), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    for name, render in TABLES.items():
        text = with_table(text, name, render())
    README.write_text(text, encoding="utf-8")
    return 0


def _span(text: str, name: str) -> tuple[int, int]:
    opening, closing = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    begin, end = text.find(opening), text.find(closing)
    if begin < 0 or end < begin:
        raise ValueError(f"no {opening} … {closing}")
    return begin + len(opening), end


def _markdown_table(keys: Sequence[Key]) -> str:
    rows = [
        (
            f"`{key.name}`",
            "secret" if key.secret else f"`{toml_value(key.default)}`",
            key.description,
        )
        for key in keys
    ]
    return _markdown(("key", "default", "meaning"), rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        head,
        ["---"] * len(head),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _example(key: Key) -> str:
    if key.secret:
        better = f"better: {key.variable} or …{FILE_SUFFIX}"
        return f'# {key.description}\n# {key.name} = "…"  # {better}'
    return f"# {key.description}\n{key.name} = {toml_value(key.default)}"


if __name__ == "__main__":
    sys.exit(main())
