"""The tables [[mappings]]: what they accept, what is refused and how that is said."""

from pathlib import Path

import pytest

from ldsync.config import FromPath, MappingSettings, Settings, load
from ldsync.engage import paths
from ldsync.engage.decoder import MOST_BYTES
from ldsync.engage.mapping import (
    EmailNormalization,
    Fields,
    Mapping,
    MembershipMode,
    Priority,
    WithoutFlag,
)
from ldsync.engage.trigger import parse as parse_trigger
from ldsync.mappings import decoder_of, mappings_of
from tests.support.configs import problems_of, write
from tests.support.engage_events import ABSENT, about, identify, read


def test_without_any_there_is_the_preset() -> None:
    """Zero configuration works as Segment's destination does when it is switched on."""
    assert Settings().mappings == (MappingSettings(),)
    assert mappings_of(Settings()) == (Mapping(),)


def test_a_mapping_is_what_its_table_says(tmp_path: Path) -> None:
    """Every key, in its place."""
    table = """name = "Devices"
        enabled = false
        trigger = 'type = "group"'
        context_kind = { path = "context.kind" }
        context_key = { path = "$.context.device.id" }
        email_normalization = "trim_lower"
        journey_step_without_flag = "add"
        batch_events = false
        segment_key = "d-{audience_id}"
        segment_name = "{audience_name} (devices)"
        audience_id = "a.id"
        audience_key = "a.key"
        computation_class = "a.class"
        user_id = "groupId"
        anonymous_id = "anonymous"
        email = 'a\\.b.mail'
        traits_or_properties = "flags" """
    file = write(tmp_path, {})
    file.write_text(f"{file.read_text('utf-8')}\n[[mappings]]\n{table}", encoding="utf-8")

    (found,) = mappings_of(load(file, {}))

    assert found == Mapping(
        name="Devices",
        enabled=False,
        trigger=parse_trigger('type = "group"'),
        context_kind=paths.parse("context.kind"),
        context_key=paths.parse("context.device.id"),
        email_normalization=EmailNormalization.TRIM_LOWER,
        journey_step_without_flag=WithoutFlag.ADD,
        batch_events=False,
        segment_key="d-{audience_id}",
        segment_name="{audience_name} (devices)",
        fields=Fields(
            audience_id=paths.parse("a.id"),
            audience_key=paths.parse("a.key"),
            computation_class=paths.parse("a.class"),
            user_id=paths.parse("groupId"),
            anonymous_id=paths.parse("anonymous"),
            email=paths.parse("a\\.b.mail"),
            traits_or_properties=paths.parse("flags"),
        ),
    )


def test_several_mappings_keep_their_order_and_their_own_defaults(tmp_path: Path) -> None:
    """What one does not say is the default, not what another says."""
    table = """[{ name = "a", context_kind = "device" }, { context_key = "email_only" }]"""

    first, second = mappings_of(load(write(tmp_path, {"mappings": table}), {}))

    assert (first.name, first.context_kind, first.context_key) == (
        "a",
        "device",
        Priority.USER_ID_ONLY,
    )
    assert second == Mapping(context_key=Priority.EMAIL_ONLY)


def test_the_common_template_holds_where_a_mapping_has_none(tmp_path: Path) -> None:
    """`naming.segment_key` is the default of `segment_key`."""
    values = {
        "naming.segment_key": '"x-{audience_key}"',
        "mappings": """[{}, { segment_key = "{audience_id}" }]""",
    }

    found = mappings_of(load(write(tmp_path, values), {}))

    assert [each.segment_key for each in found] == ["x-{audience_key}", "{audience_id}"]


@pytest.mark.parametrize(
    ("mode", "expected"), [("strict", "invalid: membership_missing"), ("segment", "-user/u_1")]
)
def test_the_mode_is_passed_on(mode: str, expected: str) -> None:
    """A removal is guessed only by the destination's own rules."""
    settings = Settings.model_validate({"membership_mode": mode})

    assert read(identify(ABSENT), decoder_of(settings)) == expected
    assert {one.value for one in MembershipMode} == {"strict", "segment"}


def test_what_to_do_with_collisions_is_passed_on() -> None:
    """By default two audiences share a segment."""
    again = about(computation_id="aud_2")
    shared = decoder_of(Settings())
    refused = decoder_of(Settings.model_validate({"naming": {"on_collision": "refuse"}}))

    for decoder in (shared, refused):
        assert read(identify(), decoder) == "+user/u_1"
    assert read(again, shared) == "+user/u_1"
    assert read(again, refused) == "skipped: segment_key_collision"


def test_how_large_a_record_may_be_is_passed_on() -> None:
    """By default a megabyte is read; the defaults of both are one."""
    tight = Settings.model_validate({"kafka": {"max_record_bytes": 10}})

    assert Settings().kafka.max_record_bytes == MOST_BYTES
    assert read(identify(), decoder_of(tight)) == "invalid: too_large"
    assert read(identify(anonymousId="a" * 1_000_000), decoder_of(Settings())) == "+user/u_1"


@pytest.mark.parametrize(("count", "problems"), [(1, 0), (50, 0), (51, 1), (0, 1)])
def test_there_are_one_to_fifty_mappings(tmp_path: Path, count: int, problems: int) -> None:
    """As many as a destination of Segment may have."""
    found = problems_of(write(tmp_path, {"mappings": f"[{', '.join(['{}'] * count)}]"}), {})

    assert [problem.key for problem in found] == ["mappings"] * problems
    assert all(f", not {count}" in problem.message for problem in found)


@pytest.mark.parametrize(
    "table",
    [
        """{ context_kind = "a.B_c-1" }""",
        """{ context_kind = { path = "$.context.kind" } }""",
        """{ context_key = "user_id_then_email_then_anonymousId" }""",
        """{ context_key = { path = 'a\\.b.0' } }""",
        """{ segment_name = "all" }""",
        """{ segment_key = "", email = "", traits_or_properties = "" }""",
        """{ journey_step_without_flag = "ignore", email_normalization = "lower" }""",
        """{ trigger = "userId != null" }""",
    ],
)
def test_the_forms_that_are_meant_are_taken(tmp_path: Path, table: str) -> None:
    """What operators really write."""
    assert problems_of(write(tmp_path, {"mappings": f"[{table}]"}), {}) == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        pytest.param("name = ' '", "must not be empty", id="no name"),
        pytest.param("enabled = 1", "must be true or false, not 1", id="enabled"),
        pytest.param("trigger = 5", "must be text, not 5", id="a number for a trigger"),
        pytest.param("trigger = 'type = track'", "column 8: expected", id="a wrong trigger"),
        pytest.param("trigger = ''", "trigger, column 1", id="no trigger"),
        pytest.param("context_kind = 'a/b'", "cannot be a kind of contexts", id="a slash"),
        pytest.param("context_kind = 'multi'", "cannot be a kind", id="a kind of several"),
        pytest.param("context_kind = ''", "cannot be a kind", id="no kind"),
        pytest.param("context_kind = 5", "must be a kind of contexts", id="a number for a kind"),
        pytest.param("context_kind = { pth = 'a' }", "{ path =", id="a wrong table"),
        pytest.param("context_kind = { path = 5 }", "{ path =", id="a number for a path"),
        pytest.param("context_kind = { path = 'a..b' }", "keys with dots", id="a wrong path"),
        pytest.param("context_key = 'userId'", "must be one of user_id_only", id="a field"),
        pytest.param("context_key = ['email_only']", "must be one of", id="a list for a key"),
        pytest.param("context_key = { path = '' }", "keys with dots", id="an empty path"),
        pytest.param("context_key = { path = 'a', b = 1 }", "must be one of", id="too much"),
        pytest.param("email_normalization = 'upper'", "must be 'none', 'lower'", id="e-mail"),
        pytest.param("journey_step_without_flag = 'remove'", "'dead_letter'", id="journey"),
        pytest.param("batch_events = 'no'", "must be true or false", id="batching"),
        pytest.param("segment_key = 'all'", "would go to one segment", id="one key for all"),
        pytest.param("segment_key = '{audience_name}'", "knows only", id="a name in a key"),
        pytest.param("segment_name = '{name}'", "knows only {audience_name}, ", id="a name"),
        pytest.param("segment_name = '{'", "is not a template", id="a brace"),
        pytest.param("segment_name = ''", "must not be empty", id="no name of the segment"),
        pytest.param("user_id = ''", "keys with dots", id="no path"),
        pytest.param("email = '.'", "keys with dots", id="a dot"),
        pytest.param("traits_or_properties = 5", "must be text", id="a number for a path of text"),
    ],
)
def test_the_forms_that_cannot_work_are_refused(tmp_path: Path, setting: str, message: str) -> None:
    """At start, with the number of the mapping and the key."""
    file = write(tmp_path, {"mappings": f"[{{}}, {{ {setting} }}]"})

    (problem,) = problems_of(file, {})

    assert problem.key == f"mappings[2].{setting.partition(' ')[0]}"
    assert problem.source == str(file)
    assert message in problem.message


def test_the_place_in_a_trigger_is_shown(tmp_path: Path) -> None:
    """Column, excerpt and caret."""
    file = write(tmp_path, {"mappings": "[{ trigger = 'type = track' }]"})

    (problem,) = problems_of(file, {})

    assert problem.message.splitlines()[-2:] == ["    type = track", "           ^"]


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ("5", "mappings", "must be a list of tables: [[mappings]]"),
        ("{ name = 'a' }", "mappings", "must be a list of tables: [[mappings]]"),
        ("[{}, 5]", "mappings", "must be a list of tables: [[mappings]]"),
    ],
)
def test_what_is_no_list_of_tables_is_refused(
    tmp_path: Path, value: str, key: str, message: str
) -> None:
    """A single table, for instance."""
    (problem,) = problems_of(write(tmp_path, {"mappings": value}), {})

    assert (problem.key, problem.message) == (key, message)


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """In several mappings and elsewhere; each key by itself."""
    table = "[{ enabled = 1, triger = '' }, { user_id = '' }]"

    found = problems_of(write(tmp_path, {"mappings": table, "batch.max_size": "0"}), {})

    assert {problem.key for problem in found} == {
        "mappings[1].triger",
        "mappings[1].enabled",
        "mappings[2].user_id",
        "batch.max_size",
    }


def test_what_the_mode_would_ignore_is_refused(tmp_path: Path) -> None:
    """Segment's way knows no choice for journey steps."""
    table = "[{}, { journey_step_without_flag = 'add' }]"
    file = write(tmp_path, {"membership_mode": '"segment"', "mappings": table})

    (problem,) = problems_of(file, {})

    assert problem.key == "mappings[2].journey_step_without_flag"
    assert problem.source == str(file)
    assert problem.message.startswith("would be ignored: membership_mode is segment")


def test_mappings_can_be_made_by_hand() -> None:
    """Parts of the program are tested without a file."""
    made = MappingSettings(context_kind=FromPath(path="a.b"), context_key=FromPath(path="c"))

    (found,) = mappings_of(Settings(mappings=(made,)))

    assert (str(found.context_kind), str(found.context_key)) == ("a.b", "c")
    assert str(made.context_kind) == "path a.b"
