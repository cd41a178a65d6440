"""Segments of one context kind: big and synced ones. What does not fit is invalid, and counted."""

import pytest

from ldsync.engage.decoder import Decoder, Several
from ldsync.engage.mapping import Mapping, MembershipMode
from ldsync.engage.paths import parse
from tests.support.engage_events import RECORD_MS, about, change, encode, identify, read

PATH = Mapping(name="kinds", context_kind=parse("kind"))
CONFLICT = "invalid: context_kind_conflict"


def decoder(*mappings: Mapping, mode: MembershipMode = MembershipMode.STRICT) -> Decoder:
    """For big segments."""
    return Decoder(*(mappings or (PATH,)), membership_mode=mode, one_kind_per_segment=True)


@pytest.mark.parametrize("mode", MembershipMode)
def test_the_first_kind_is_that_of_the_segment(mode: MembershipMode) -> None:
    """Others are refused, always, and that one is not."""
    reader = decoder(mode=mode)

    for _ in range(2):
        assert change(identify(kind="device"), reader).member == "device/u_1"
        assert read(identify(kind="user"), reader) == CONFLICT
    assert change(identify(kind="device"), reader).target.segment.context_kind == "device"


def test_each_segment_has_its_own() -> None:
    """One audience of devices, one of users."""
    reader = decoder()
    devices = about(computation_id="aud_1", computation_key="first_time_shopper") | {
        "kind": "device"
    }
    other = identify(kind="user")
    other["context"]["personas"] |= {"computation_id": "aud_2", "computation_key": "second"}
    other["traits"]["second"] = True

    assert change(devices, reader).member == "device/u_1"
    assert change(other, reader).member == "user/u_1"


def test_what_is_known_of_a_segment_counts() -> None:
    """A segment that exists with another kind than the first event had decides."""
    reader = decoder()
    segment = change(identify(kind="device"), reader).target.segment
    segment.context_kind = "user"

    assert change(identify(kind="user"), reader).member == "user/u_1"
    assert read(identify(kind="account"), reader) == CONFLICT


def test_an_event_that_changes_nothing_fixes_nothing() -> None:
    """Only a member does."""
    reader = decoder()

    assert read(identify("perhaps", kind="device"), reader) == "invalid: membership_not_boolean"
    assert change(identify(kind="user"), reader).member == "user/u_1"


def test_two_mappings_share_the_kind_of_their_segment() -> None:
    """The change of the one is written, what the other makes of it is invalid."""
    found = decoder(Mapping(), PATH).read(encode(identify(kind="device")), RECORD_MS)

    assert isinstance(found, Several)
    assert [each.member for each in found.changes] == ["user/u_1"]
    assert found.worst is not None
    assert found.worst.reason == "context_kind_conflict"


def test_a_standard_segment_takes_all_kinds() -> None:
    """Nothing is fixed there."""
    reader = Decoder(PATH)

    assert change(identify(kind="device"), reader).member == "device/u_1"
    assert change(identify(kind="user"), reader).target.segment.context_kind == ""
