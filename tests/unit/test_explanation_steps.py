"""The steps of an explanation: what is said of each, and why it was not passed."""

from typing import Any

import pytest

from ldsync.engage.mapping import EmailNormalization, Fields, Mapping, MembershipMode, Priority
from ldsync.engage.mapping import WithoutFlag as Without
from ldsync.engage.paths import parse as path
from ldsync.engage.words import REASONS
from tests.support.engage_events import (
    ABSENT,
    AUDIENCE_KEY,
    LONE_SURROGATE,
    RECORD_MS,
    about,
    identify,
    track,
)
from tests.support.explaining import explain, step, story

SEGMENT = MembershipMode.SEGMENT
JAVASCRIPT = 'read as JavaScript does (membership_mode = "segment")'
EVERY_KEY = Mapping(
    context_key=Priority.USER_ID_THEN_EMAIL_THEN_ANONYMOUS_ID,
    email_normalization=EmailNormalization.TRIM_LOWER,
)


ELSEWHERE = Mapping(fields=Fields(computation_class=path("class"), audience_id=path("a.id")))
JUNK = {"deep": [1]}


@pytest.mark.parametrize(
    ("event", "mapping", "mode", "expected"),
    [
        pytest.param(
            identify(),
            Mapping(),
            None,
            ("audience first_time_shopper (aud_2zJkeVoLkrirhXup2uAPEsDLq4N)", True, ""),
            id="an audience",
        ),
        pytest.param(
            about(computation_class="journey_step", computation_id="s_1"),
            Mapping(),
            None,
            ("journey step first_time_shopper (s_1)", True, ""),
            id="a journey step",
        ),
        pytest.param(
            identify(context={}),
            Mapping(),
            None,
            ("not_engage", False, "context.personas is missing or null"),
            id="no audience event",
        ),
        pytest.param(
            about(computation_class="trait"),
            Mapping(),
            None,
            (
                "class_not_audience",
                False,
                'context.personas.computation_class is "trait"',
            ),
            id="a computed trait",
        ),
        pytest.param(
            identify(),
            ELSEWHERE,
            None,
            ("class_not_audience", False, "class is missing or null"),
            id="a class at the top",
        ),
        pytest.param(
            identify() | {"class": "audience", "a": {"id": ""}},
            ELSEWHERE,
            None,
            ("bad_audience_id", False, 'a.id is ""'),
            id="an empty id elsewhere",
        ),
        pytest.param(
            about(computation_key=JUNK),
            Mapping(),
            None,
            ("bad_audience_key", False, "context.personas.computation_key is an object"),
            id="a key that is none",
        ),
        pytest.param(
            identify(userId=JUNK),
            Mapping(),
            SEGMENT,
            (
                "bad_identifier",
                False,
                (
                    "userId is an object | traits.email or context.traits.email is "
                    '"ann@example.com" | anonymousId is missing or null'
                ),
            ),
            id="an identifier that Segment refuses",
        ),
        pytest.param(
            identify(userId=JUNK),
            Mapping(fields=Fields(email=path("mail"))),
            SEGMENT,
            (
                "bad_identifier",
                False,
                "userId is an object | mail is missing or null | anonymousId is missing or null",
            ),
            id="with the e-mail elsewhere",
        ),
        pytest.param(
            identify(traits=ABSENT),
            Mapping(),
            SEGMENT,
            ("membership_missing", False, "traits is missing or null"),
            id="no object for Segment",
        ),
    ],
)
def test_the_audience_step(
    event: Any, mapping: Mapping, mode: MembershipMode | None, expected: tuple[str, bool, str]
) -> None:
    """Which audience; or the verdict, and what stands where something else should."""
    told = story(event, mapping, mode or MembershipMode.STRICT)

    text, passed, details = expected
    assert step(told, "audience") == (text if passed else _plain(text), passed, details)
    assert passed or [each.name for each in told.steps] == ["trigger", "audience"]


def _plain(reason: str) -> str:
    return REASONS[reason].replace("`", "")


@pytest.mark.parametrize(
    ("event", "mode", "setting", "expected"),
    [
        pytest.param(
            identify(),
            None,
            None,
            ("the member is in", True, "traits.first_time_shopper is true"),
            id="true",
        ),
        pytest.param(
            track("FALSE"),
            None,
            None,
            ("the member is out", True, 'properties.first_time_shopper is "FALSE"'),
            id="text",
        ),
        pytest.param(
            track("false"),
            SEGMENT,
            None,
            (
                "the member is in",
                True,
                f'properties.first_time_shopper is "false" | {JAVASCRIPT}',
            ),
            id="text for Segment",
        ),
        pytest.param(
            identify(traits={}, properties={AUDIENCE_KEY: False}),
            None,
            None,
            (
                "the member is out",
                True,
                (
                    "traits.first_time_shopper is missing or null | "
                    "properties.first_time_shopper is false"
                ),
            ),
            id="in the other object",
        ),
        pytest.param(
            identify(7),
            None,
            None,
            ("membership_not_boolean", False, "traits.first_time_shopper is 7"),
            id="a number",
        ),
        pytest.param(
            identify(ABSENT),
            None,
            None,
            (
                "membership_missing",
                False,
                "traits.first_time_shopper is missing or null | properties is missing or null",
            ),
            id="missing",
        ),
        pytest.param(
            about(computation_class="journey_step") | {"traits": {}},
            None,
            Without.ADD,
            (
                "the member is in",
                True,
                (
                    "traits.first_time_shopper is missing or null | properties is missing or null "
                    '| journey_step_without_flag is "add"'
                ),
            ),
            id="a step that adds",
        ),
        pytest.param(
            about(computation_class="journey_step") | {"traits": {}},
            None,
            Without.IGNORE,
            (
                "step_without_flag",
                False,
                (
                    "traits.first_time_shopper is missing or null | properties is missing or null "
                    '| journey_step_without_flag is "ignore"'
                ),
            ),
            id="a step that is ignored",
        ),
        pytest.param(
            about(computation_class="journey_step") | {"traits": {}},
            None,
            Without.DEAD_LETTER,
            (
                "membership_missing",
                False,
                "traits.first_time_shopper is missing or null | properties is missing or null",
            ),
            id="a step that is invalid",
        ),
    ],
)
def test_the_membership_step(
    event: Any,
    mode: MembershipMode | None,
    setting: Without | None,
    expected: tuple[str, bool, str],
) -> None:
    """In or out, and every place that was looked at until there was something."""
    mapping = Mapping(journey_step_without_flag=setting or Without.DEAD_LETTER)

    told = story(event, mapping, mode or MembershipMode.STRICT)

    text, passed, details = expected
    assert step(told, "membership") == (text if passed else _plain(text), passed, details)


def test_the_membership_step_names_a_path() -> None:
    """Where a mapping says that the flag is somewhere else."""
    event = identify(ABSENT) | {"deep": {"flags": {AUDIENCE_KEY: True}}}
    mapping = Mapping(fields=Fields(traits_or_properties=path("deep.flags")))

    for mode in MembershipMode:
        text, passed, details = step(story(event, mapping, mode), "membership")
        assert (text, passed) == ("the member is in", True)
        assert details.split(" | ")[0] == "deep.flags.first_time_shopper is true"


NO_EMAIL = {"traits": {AUDIENCE_KEY: True}}


@pytest.mark.parametrize(
    ("event", "mapping", "mode", "expected"),
    [
        pytest.param(identify(), Mapping(), None, 'u_1 = userId is "u_1": taken', id="the user id"),
        pytest.param(
            identify(userId=2**70),
            Mapping(),
            None,
            "1180591620717411303424 = userId is 1.1805916207174113e+21: taken",
            id="an integer with all its digits",
        ),
        pytest.param(
            identify(userId=" ", traits={"email": " Ann@Example.com ", AUDIENCE_KEY: True}),
            EVERY_KEY,
            None,
            'ann@example.com = userId is " ", which is no key | '
            'traits.email is " Ann@Example.com ": taken | context.traits.email is not looked at | '
            "anonymousId is not looked at",
            id="the second",
        ),
        pytest.param(
            identify(userId=LONE_SURROGATE, anonymousId=1.5) | NO_EMAIL,
            EVERY_KEY,
            None,
            'no_context_key = userId is "half an emoji \\ud83d", which holds half a surrogate pair '
            "| traits.email is missing or null | context.traits.email is missing or null | "
            "anonymousId is 1.5, which is neither text nor an integer",
            id="none",
        ),
        pytest.param(
            identify(userId=[]),
            Mapping(),
            None,
            "no_context_key = userId is a list, which is neither text nor an integer",
            id="a list",
        ),
        pytest.param(
            identify(userId=""),
            EVERY_KEY,
            SEGMENT,
            'ann@example.com = userId is "", which is no key | '
            'traits.email or context.traits.email is "ann@example.com": taken | '
            "anonymousId is not looked at",
            id="the second, Segment's way",
        ),
        pytest.param(
            identify(userId=LONE_SURROGATE, anonymousId="a"),
            Mapping(),
            SEGMENT,
            'no_context_key = userId is "half an emoji \\ud83d": an audience event without a '
            "usable identifier, by default userId",
            id="one that cannot be sent, Segment's way",
        ),
        pytest.param(
            identify(key=JUNK),
            Mapping(context_key=path("key")),
            SEGMENT,
            "bad_identifier = key is an object: an identifier that is an object or a list; only "
            'with membership_mode = "segment"',
            id="a path to an object, Segment's way",
        ),
        pytest.param(
            identify(userId=[""]),
            Mapping(),
            SEGMENT,
            "no_context_key = userId is a list, which is no key",
            id="an empty text in a list, Segment's way",
        ),
        pytest.param(
            identify(userId=True),
            Mapping(),
            SEGMENT,
            "true = userId is true: taken",
            id="a boolean, Segment's way",
        ),
        pytest.param(
            identify(userId=[]),
            Mapping(),
            SEGMENT,
            None,
            id="a list is refused before, Segment's way",
        ),
    ],
)
def test_the_key_step(
    event: Any, mapping: Mapping, mode: MembershipMode | None, expected: str | None
) -> None:
    """Every candidate in its order: which one won, and why the others did not."""
    told = story(event, mapping, mode or MembershipMode.STRICT)

    if expected is None:
        assert "context key" not in [each.name for each in told.steps]
        return
    key, _, details = expected.partition(" = ")
    passed = key not in REASONS
    assert step(told, "context key") == (key if passed else _plain(key), passed, details)


@pytest.mark.parametrize(
    ("kind", "event", "expected"),
    [
        pytest.param("device", identify(), ("device, as configured", True, ""), id="a constant"),
        pytest.param(
            path("context.kind"),
            identify(context=identify()["context"] | {"kind": "device"}),
            ("device", True, 'context.kind is "device"'),
            id="a path",
        ),
        pytest.param(
            path("context.kind"),
            identify(),
            ("bad_context_kind", False, "context.kind is missing or null"),
            id="nothing there",
        ),
    ],
)
def test_the_kind_step(kind: Any, event: Any, expected: tuple[str, bool, str]) -> None:
    """As configured, or what stands at the path."""
    text, passed, details = expected

    assert step(story(event, Mapping(context_kind=kind)), "context kind") == (
        text if passed else _plain(text),
        passed,
        details,
    )


TIES = "; receivedAt decides ties"


@pytest.mark.parametrize(
    ("fields", "record_ms", "text", "first"),
    [
        pytest.param(
            {},
            RECORD_MS,
            "2026-03-04T10:15:30.123Z then 2026-03-04T10:15:41.877Z",
            "timestamp",
            id="its own times",
        ),
        pytest.param(
            {"timestamp": "2026-03-04T10:15:30.123456789+01:00"},
            RECORD_MS,
            "2026-03-04T09:15:30.123456789Z then 2026-03-04T10:15:41.877Z",
            "timestamp",
            id="nanoseconds",
        ),
        pytest.param(
            {"timestamp": ABSENT},
            RECORD_MS,
            "2026-03-04T10:15:41.877Z then 2026-03-04T10:15:41.877Z",
            "receivedAt, because timestamp is missing",
            id="no timestamp",
        ),
        pytest.param(
            {"timestamp": "yesterday"},
            RECORD_MS,
            "2026-03-04T10:15:41.877Z then 2026-03-04T10:15:41.877Z",
            "receivedAt, because timestamp cannot be read",
            id="a bad one",
        ),
        pytest.param(
            {"timestamp": ABSENT, "receivedAt": ABSENT},
            RECORD_MS,
            "2026-03-04T10:15:45.000Z then 0000-00-00T00:00:00.000Z",
            "the record's time, because neither timestamp nor receivedAt can be read",
            id="no time",
        ),
        pytest.param(
            {"timestamp": ABSENT, "receivedAt": 5},
            -1,
            "0000-00-00T00:00:00.000Z then 0000-00-00T00:00:00.000Z",
            "no time, because neither timestamp nor receivedAt can be read, nor has the record any",
            id="no time anywhere",
        ),
        pytest.param(
            {"timestamp": "2027-01-01T00:00:00.000Z"},
            RECORD_MS,
            "2026-03-04T10:15:45.000Z then 2026-03-04T10:15:41.877Z",
            "the record's time, because the event's is more than 60 s after it",
            id="from the future",
        ),
        pytest.param(
            {"timestamp": "2027-01-01T00:00:00.000Z"},
            -1,
            "2027-01-01T00:00:00.000Z then 2026-03-04T10:15:41.877Z",
            "timestamp",
            id="nothing to compare with",
        ),
    ],
)
def test_the_version_step(fields: dict[str, Any], record_ms: int, text: str, first: str) -> None:
    """What orders the event, and which of its times that is."""
    event = {name: each for name, each in identify(**fields).items() if each is not ABSENT}

    order = explain(event, record_ms=record_ms).events[0].order

    assert order is not None
    assert (order.text, order.details) == (text, (first + TIES,))
    assert order.passed is (first == "timestamp")
