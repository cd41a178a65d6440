"""The examples of docs/explaining.md: ten events, and what `ldsync explain` prints for each.

`python -m tests.support.docs_explaining` prints them; with `--write` it replaces what is between
the markers in the page (`<!-- identify_entered:begin -->` … `<!-- identify_entered:end -->`).
`tests/unit/test_docs_explaining.py` compares.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldsync import __version__
from tests.support.commands import call
from tests.support.docs_tables import with_table

PAGE = Path(__file__).parents[2] / "docs" / "explaining.md"
WRITE = "python -m tests.support.docs_explaining --write"

_AUDIENCE = {
    "computation_class": "audience",
    "computation_id": "aud_2zJkeVoLkrirhXup2uAPEsDLq4N",
    "computation_key": "first_time_shopper",
}
_STEP = {
    "computation_class": "journey_step",
    "computation_id": "winback__add_to_ld_8943l",
    "computation_key": "winback__add_to_ld_8943l",
}
_TRAIT = {
    "computation_class": "trait",
    "computation_id": "tra_2zKk0aBcDeFgHiJkLmNoPqRsTuV",
    "computation_key": "total_revenue_180_days",
}
_SEGMENTS_WAY = 'membership_mode = "segment"\n'
_MAPPINGS = """\
[[mappings]]
name = "Users"
context_key = "user_id_then_email"
email_normalization = "lower"

[[mappings]]
name = "Devices"
context_kind = "device"
context_key = { path = "context.device.id" }
segment_key = "{audience_key}-devices"

[[mappings]]
name = "Staff"
trigger = 'context.personas.computation_key = "staff"'
context_kind = "employee"
"""


@dataclass(frozen=True, slots=True)
class Example:
    """One event, the configuration that it is explained with, and whether requests are shown."""

    event: Any
    config: str = ""
    with_requests: bool = False


def _event(kind: str, personas: dict[str, str], **fields: Any) -> dict[str, Any]:
    times = {"timestamp": "2026-03-04T10:15:30.123Z", "receivedAt": "2026-03-04T10:15:41.877Z"}
    context = {"personas": personas, **fields.pop("context", {})}
    return {"type": kind, **times, "context": context, **fields}


_TRACK_FALSE_TEXT = _event(
    "track", _AUDIENCE, userId="u_84213", properties={"first_time_shopper": "false"}
)

EXAMPLES: dict[str, Example] = {
    "identify_entered": Example(
        _event("identify", _AUDIENCE, userId="u_84213", traits={"first_time_shopper": True}),
        with_requests=True,
    ),
    "track_exited": Example(
        _event(
            "track",
            _AUDIENCE,
            event="Audience Exited",
            userId="u_84213",
            properties={"first_time_shopper": False},
        )
    ),
    "anonymous": Example(
        _event(
            "identify",
            _AUDIENCE,
            anonymousId="6f0c2d7e-1b1f-4a55-9d0e-3a0b9f7a1c11",
            traits={"first_time_shopper": True},
        )
    ),
    "journey_step": Example(
        _event(
            "track",
            _STEP,
            event="Winback step",
            userId="u_84213",
            properties={"journey_metadata": {"journey_id": "2GKsjADZkD"}},
        )
    ),
    "false_as_text": Example(_TRACK_FALSE_TEXT),
    "false_as_text_segments_way": Example(_TRACK_FALSE_TEXT, _SEGMENTS_WAY),
    "computed_trait": Example(
        _event("identify", _TRAIT, userId="u_84213", traits={"total_revenue_180_days": 450.0})
    ),
    "nested": Example(
        {
            "context": {"personas": _AUDIENCE},
            "batch": [
                {
                    "type": "identify",
                    "userId": "u_1",
                    "timestamp": "2026-03-04T10:15:30.123Z",
                    "traits": {"first_time_shopper": True},
                },
                {"type": "identify", "userId": "u_2", "traits": {"first_time_shopper": 1}},
            ],
        }
    ),
    "broken": Example('{"type": "identify", "userId": '),
    "several_mappings": Example(
        _event(
            "identify",
            _AUDIENCE,
            context={"device": {"id": "d_7"}},
            traits={"email": "Ann@Example.com", "first_time_shopper": True},
        ),
        _MAPPINGS,
    ),
}


def rendered(example: Example) -> str:
    """An example as Markdown: event, configuration if it has one, command and output."""
    event = example.event if isinstance(example.event, str) else _written(example.event)
    config = ["config.toml:", "", f"```toml\n{example.config}```", ""] if example.config else []
    option = " --config config.toml" if example.config else ""
    text = f"$ ldsync explain event.json{option}\n{output(example, event)}"
    return "\n".join([f"```json\n{event}\n```", "", *config, f"```\n{text}\n```"])


def output(example: Example, event: str) -> str:
    """What the command prints, down to the requests if these are not wanted."""
    with tempfile.TemporaryDirectory() as directory:
        file, config = Path(directory) / "event.json", Path(directory) / "config.toml"
        file.write_text(event, encoding="utf-8")
        config.write_text(example.config, encoding="utf-8")
        result = call("explain", str(file), "--config", str(config))
    assert result.exit_code == 0, result.output
    text = result.stdout.replace(f"ldsync/{__version__}", "ldsync/<version>")
    if not example.with_requests:
        text = text.partition("\n  request with")[0]
    return text.strip()


def page() -> str:
    """The page with all examples as they are now."""
    text = PAGE.read_text(encoding="utf-8")
    for name, example in EXAMPLES.items():
        text = with_table(text, name, rendered(example))
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the examples."""
    parser = argparse.ArgumentParser(description="Render the examples of docs/explaining.md.")
    parser.add_argument("--write", action="store_true", help="write docs/explaining.md")
    if parser.parse_args(arguments).write:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write("\n\n".join(map(rendered, EXAMPLES.values())) + "\n")
    return 0


def _written(event: dict[str, Any]) -> str:
    """An event as JSON, a line for each field."""
    fields = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in event.items()]
    return "{\n" + ",\n".join(fields) + "\n}"


if __name__ == "__main__":
    sys.exit(main())
