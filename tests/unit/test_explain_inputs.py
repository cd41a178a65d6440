"""What one event is in a file: bytes are taken as they are, and nothing makes it fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsync.explain.inputs import NO_TIME, items

PRETTY = b'{\n  "type": "identify",\n  "userId": "u_1"\n}\n'
BROKEN_PRETTY = b'{\n  "type": "identify",\n  "userId": \n}\n'
ARRAY = b'[\n  {"type": "page"},\n  {"type": "track"}\n]\n'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\n \n\t\r\n", [], id="only blank lines"),
        pytest.param(b'{"a": 1}', [(1, b'{"a": 1}')], id="one line without an end"),
        pytest.param(b'{"a": 1}\n', [(1, b'{"a": 1}')], id="one line"),
        pytest.param(b'\n\n{"a": 1}\n', [(3, b'{"a": 1}')], id="below blank lines"),
        pytest.param(
            b'{"a": 1}\r\n\r\n{"b": 2}\r\n', [(1, b'{"a": 1}'), (3, b'{"b": 2}')], id="with CR"
        ),
        pytest.param(PRETTY, [(1, PRETTY)], id="one object over several lines"),
        pytest.param(ARRAY, [(1, ARRAY)], id="one array over several lines"),
        pytest.param(b"\n" + PRETTY, [(2, b"\n" + PRETTY)], id="the same below a blank line"),
        pytest.param(BROKEN_PRETTY, [(1, BROKEN_PRETTY)], id="one object that is broken"),
        pytest.param(
            PRETTY + PRETTY, [(1, PRETTY + PRETTY)], id="two of them are one that is broken"
        ),
        pytest.param(
            b'{\n{"a": 1}\n', [(1, b"{"), (2, b'{"a": 1}')], id="a broken line before a good one"
        ),
        pytest.param(
            b'{"a":\nnonsense\n5\n',
            [(1, b'{"a":'), (2, b"nonsense"), (3, b"5")],
            id="broken lines",
        ),
        pytest.param(b"\xff\n\x00\n", [(1, b"\xff"), (2, b"\x00")], id="bytes that are no text"),
        pytest.param(b'"\xc2\x85"\n1\n', [(1, b'"\xc2\x85"'), (2, b"1")], id="a NEL"),
    ],
)
def test_a_file_is_one_document_or_an_event_in_each_line(
    content: bytes, expected: list[tuple[int, bytes]]
) -> None:
    """Blank lines are no events; the number of a line is that of the file."""
    found = [(item.origin["line"], item.value) for item in items(content)]

    assert found == expected


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"{", b"{}", b"[", b" "])))
def test_no_line_is_lost(lines: list[bytes]) -> None:
    """Whatever the file is taken for, everything in it that is not blank is in some event."""
    content = b"\n".join(lines)

    found = b"".join(item.value or b"" for item in items(content))

    assert b"".join(found.split()) == b"".join(content.split())


@pytest.mark.parametrize("time", [NO_TIME, 1_772_619_345_000])
def test_the_events_of_a_file_have_the_time_that_is_given(time: int) -> None:
    """All the same one; by default none."""
    (item,) = items(b"{}", time)

    assert (item.timestamp, item.offset) == (time, 1)
