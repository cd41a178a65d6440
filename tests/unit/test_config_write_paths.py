"""What the write paths ask of the rest of the configuration."""

from pathlib import Path

import pytest

from ldsync.config import load
from ldsync.mappings import mappings_of
from tests.support.configs import problems_of, write

ID = {"launchdarkly.client_side_id": '"6123456789ABCDEF01234567"'}
NO_KEYS = {"launchdarkly.project_key": "", "launchdarkly.environment_key": ""}
BIG = {"launchdarkly.write_path": '"big"'}
SYNCED = {"launchdarkly.write_path": '"synced"', **ID}
TWO_KINDS = '[{ name = "a" }, { name = "b", context_kind = "device"%s }]'


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(BIG, id="big"),
        pytest.param({**BIG, "launchdarkly.exit_action": '"exclude"'}, id="big that excludes"),
        pytest.param({"launchdarkly.exit_action": '"exclude"'}, id="standard that excludes"),
        pytest.param(SYNCED, id="synced"),
        pytest.param({**SYNCED, **NO_KEYS}, id="synced by the client-side ID alone"),
        pytest.param({**SYNCED, "launchdarkly.base_url": '"http://127.0.0.1:1"'}, id="elsewhere"),
        pytest.param({"mappings": TWO_KINDS % ""}, id="two kinds in a standard segment"),
        pytest.param(
            {**BIG, "mappings": TWO_KINDS % ', segment_key = "d-{audience_key}"'},
            id="two kinds in two big segments",
        ),
        pytest.param(
            {**BIG, "mappings": TWO_KINDS % ", enabled = false"}, id="two kinds, one switched off"
        ),
        pytest.param(
            {
                **SYNCED,
                "mappings": '[{}, { name = "b", context_kind = { path = "context.kind" } }]',
            },
            id="a kind that is read from events",
        ),
    ],
)
def test_what_fits_together_is_taken(tmp_path: Path, values: dict[str, str]) -> None:
    """The last case before the rule."""
    assert problems_of(write(tmp_path, values), {}) == []


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        pytest.param(
            {"launchdarkly.write_path": '"synced"'},
            "launchdarkly.client_side_id",
            "is required",
            id="synced without the client-side ID",
        ),
        pytest.param(
            {**SYNCED, "launchdarkly.project_key": ""},
            "launchdarkly.project_key",
            "is required",
            id="half of the keys",
        ),
        pytest.param(
            {**SYNCED, "launchdarkly.exit_action": '"exclude"'},
            "launchdarkly.exit_action",
            "no excluded members",
            id="synced that excludes",
        ),
        pytest.param(
            {**SYNCED, "launchdarkly.base_url": '"https://app.eu.launchdarkly.com"'},
            "launchdarkly.write_path",
            "the EU instance has no synced segments",
            id="EU",
        ),
        pytest.param(
            {**SYNCED, "launchdarkly.base_url": '"https://app.launchdarkly.us"'},
            "launchdarkly.write_path",
            "the federal instance has no synced segments",
            id="federal",
        ),
        pytest.param(
            {**SYNCED, "launchdarkly.create_segments": "false"},
            "launchdarkly.create_segments",
            "would be ignored",
            id="synced and not created",
        ),
        pytest.param(
            {**SYNCED, "launchdarkly.view_keys": '["web"]'},
            "launchdarkly.view_keys",
            "would be ignored",
            id="synced in a view",
        ),
        pytest.param(
            {**SYNCED, "naming.segment_key": '"{audience_id}"'},
            "naming.segment_key",
            "would be ignored",
            id="synced under another key",
        ),
        pytest.param(
            {**SYNCED, "mappings": '[{ segment_key = "{audience_id}" }]'},
            "mappings[1].segment_key",
            "would be ignored",
            id="synced under another key of a mapping",
        ),
        pytest.param(
            {**BIG, "mappings": TWO_KINDS % ""},
            "mappings[2].context_kind",
            'but mapping 1 (a) writes "user" to the same segments',
            id="two kinds in a big segment",
        ),
        pytest.param(
            {
                **BIG,
                "naming.segment_key": '"x-{audience_id}"',
                "mappings": TWO_KINDS % ', segment_key = "x-{audience_id}"',
            },
            "mappings[2].context_kind",
            "a segment_key for each",
            id="the same template in two places",
        ),
        pytest.param(
            {**SYNCED, "mappings": TWO_KINDS % ""},
            "mappings[2].context_kind",
            "one context kind: use one kind",
            id="two kinds in a synced segment",
        ),
    ],
)
def test_what_does_not_fit_together_is_one_problem(
    tmp_path: Path, values: dict[str, str], key: str, message: str
) -> None:
    """Named by the key that should change."""
    (problem,) = problems_of(write(tmp_path, values), {})

    assert problem.key == key
    assert message in problem.message


@pytest.mark.parametrize(
    ("literal", "message"),
    [
        ('"6123456789abcdef0123456"', "24 hexadecimal digits"),
        ('"sdk-6123456789abcdef0123"', "is a secret key"),
        ('"6123456789abcdef0123456g"', "24 hexadecimal digits"),
    ],
)
def test_a_client_side_id_is_not_another_key(tmp_path: Path, literal: str, message: str) -> None:
    """SDK keys are confused with it, and are secrets: what was given is not repeated."""
    (problem,) = problems_of(write(tmp_path, {"launchdarkly.client_side_id": literal}), {})

    assert message in problem.message
    assert literal.strip('"') not in problem.message


def test_a_synced_segment_is_one_per_audience_id(tmp_path: Path) -> None:
    """Two audiences with the same key must not become one cohort."""
    settings = load(write(tmp_path, SYNCED), {})

    assert settings.launchdarkly.client_side_id == "6123456789abcdef01234567"
    assert [mapping.segment_key for mapping in mappings_of(settings)] == [
        "segment-audiences-{audience_id}"
    ]


def test_an_empty_view_is_none(tmp_path: Path) -> None:
    """It would be sent as it is."""
    (problem,) = problems_of(write(tmp_path, {"launchdarkly.view_keys": '[""]'}), {})

    assert "empty" in problem.message
