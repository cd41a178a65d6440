"""What is written of a dead letter: headers, the pointer to a large one, a change by itself."""

import hashlib
import json
from dataclasses import dataclass, field

import pytest

from ldsync.kafka.letter import (
    OVERHEAD_BYTES,
    Letter,
    Origin,
    Refusal,
    change_json,
    encode,
    letter_of,
)
from ldsync.sync.ledger import Partition
from tests.support.core import segment


@dataclass(slots=True)
class Receipt:
    """Counts what is given back."""

    released: int = 0

    def release(self) -> None:
        """For the letter."""
        self.released += 1


@dataclass(frozen=True, slots=True)
class Record:
    """A record of Kafka."""

    topic: str = "events"
    partition: int = 3
    offset: int = 17
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"k"
    value: bytes | None = b"value"
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)


def test_a_record_is_written_as_it_is() -> None:
    """The headers say where it is from and why it is here; others than the trace are left out."""
    record = Record(headers=[("x", b"y"), ("traceparent", b"00-a")])
    key, value, headers = encode(letter_of(record, "dead", "bad_json", Receipt()), 10_000, "g")
    assert (key, value) == (b"k", b"value")
    assert headers == [
        ("ldsync-format", b"1"),
        ("ldsync-group", b"g"),
        ("ldsync-value", b"original"),
        ("ldsync-topic", b"events"),
        ("ldsync-partition", b"3"),
        ("ldsync-offset", b"17"),
        ("ldsync-timestamp", b"1700000000000"),
        ("ldsync-reason", b"bad_json"),
        ("traceparent", b"00-a"),
    ]


def test_a_refused_change_names_segment_member_attempts_and_what_was_said() -> None:
    """Half a surrogate pair, which no text can carry, is replaced; a long text is cut."""
    refusal = Refusal("vip", "user/ä", 3)
    detail = "no \ud800 " + "x" * 2000
    letter = letter_of(Record(), "dead", "bad_request", Receipt(), detail=detail, refusal=refusal)
    headers = dict(encode(letter, 10_000, "g")[2])
    assert headers["ldsync-segment"] == b"vip"
    assert headers["ldsync-member"] == "user/ä".encode()
    assert headers["ldsync-attempts"] == b"3"
    assert headers["ldsync-detail"] == b"no ? " + b"x" * 1019


def test_a_change_without_its_record_is_written_as_json() -> None:
    """However large it is: nothing could be pointed to."""
    value = change_json(segment("vip"), "user/a/b", included=False, version="v")
    letter = Letter(
        "dead", b"a/b", value, None, "bad_request", Receipt(), owner=Partition("events", 2)
    )
    _, written, headers = encode(letter, 10, "g")
    assert written == value
    assert json.loads(value) == {
        "format": "ldsync-change/1",
        "segment": "vip",
        "segment_name": "Vip",
        "audience_id": "aud_vip",
        "audience_key": "vip",
        "context_kind": "user",
        "context_key": "a/b",
        "action": "remove",
        "version": "v",
    }
    assert dict(headers) == {
        "ldsync-format": b"1",
        "ldsync-group": b"g",
        "ldsync-value": b"change",
        "ldsync-topic": b"events",
        "ldsync-partition": b"2",
        "ldsync-reason": b"bad_request",
    }


@pytest.mark.parametrize(
    ("record", "key", "hashed"),
    [
        pytest.param(Record(value=b"v" * 9000), b"k", False, id="a long value"),
        pytest.param(Record(value=None, key=b"k" * 9000), None, True, id="a long key"),
        pytest.param(Record(key=None, value=b"v" * 9000), None, False, id="no key"),
    ],
)
def test_what_is_too_large_is_pointed_to(record: Record, key: bytes | None, hashed: bool) -> None:
    """From the first byte that is too many; a key stays unless it is too long itself."""
    letter = letter_of(record, "dead", "bad_json", Receipt())
    size = 9000 + OVERHEAD_BYTES + (1 if key else 0)
    assert letter.size == size
    assert encode(letter, size, "g")[1] == record.value
    found, value, headers = encode(letter, size - 1, "g")
    pointer = json.loads(value or b"")
    assert found == key
    assert dict(headers)["ldsync-value"] == b"pointer"
    assert pointer["sha256"] == hashlib.sha256(record.value or b"").hexdigest()
    assert (pointer["topic"], pointer["partition"], pointer["offset"]) == ("events", 3, 17)
    assert ("key_sha256" in pointer) is hashed


def test_what_a_letter_carries_is_not_in_its_repr() -> None:
    """P8: it may end up in a log."""
    letter = Letter(
        "dead", b"secret", b"secret", Origin("events", 0, 1, 2), "x", Receipt(), "secret"
    )
    assert "secret" not in repr(letter)
    assert "offset=1" in repr(letter)
