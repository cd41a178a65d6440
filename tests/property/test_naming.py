"""Names and keys of segments, for any audience."""

import re

from hypothesis import assume, example, given
from hypothesis import strategies as st

from ldsync.engage.naming import segment_key, segment_name
from tests.support import engage_oracle as oracle

valid = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}").fullmatch
audience_keys = (
    st.text("abAB01_.- /é日", min_size=1, max_size=6)
    | st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    | st.text("ab-", min_size=120, max_size=140)
)


@given(audience_keys, st.sampled_from(["{audience_key}", "x-{audience_key}", "-{audience_key}-"]))
def test_every_audience_gets_a_key_that_launchdarkly_accepts(key: str, template: str) -> None:
    """Whatever it is called."""
    assert valid(segment_key(template, audience_key=key, audience_id="aud_1"))


@given(audience_keys, audience_keys)
@example("a b", "a-b-c8687a08aa5d")
@example("{audience_id}", "aud_1")
def test_two_audience_keys_never_give_one_segment_key(one: str, other: str) -> None:
    """Nor does a key that another's was made into."""
    assume(one != other)

    assert _key(one) != _key(other)
    assert _key(one) != _key(_key(other)) or one == _key(other)


@given(audience_keys)
def test_a_key_is_kept_wherever_that_is_possible(key: str) -> None:
    """Only what LaunchDarkly refuses, or what ends like a digest, is changed."""
    possible = valid(key) is not None and not re.search("-[0-9a-f]{12}$", key)

    assert (_key(key) == key) is possible


@given(audience_keys)
def test_a_name_is_the_one_that_javascript_makes(key: str) -> None:
    """As Segment's own destination does."""
    assert segment_name(key) == oracle.segment_name(key)


def _key(audience_key: str) -> str:
    return segment_key("{audience_key}", audience_key=audience_key, audience_id="aud_1")
