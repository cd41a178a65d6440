"""What came of a request, in words for the operator."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsync.launchdarkly.outcome import Patience, Retry, RetryReason, Scope, Verdict
from ldsync.launchdarkly.reply import MAX_ERROR, MAX_MESSAGE, NoAnswer, Reply, Silence, read_reply

TOKEN = "api-00000000-secret"
DOING = "writing to segment vip"


def read(
    status: int, raw: bytes, content_type: str = "application/json", after: float = 0.0
) -> Reply:
    """A reply as the client reads it."""
    return read_reply(
        status, raw, content_type=content_type, secrets=[TOKEN], started=7.0, after=after
    )


@pytest.mark.parametrize(
    ("raw", "content_type", "shown"),
    [
        pytest.param(
            b'{"code":"invalid_request","message":"key is bad","id":"2f0c"}',
            "application/json",
            "400 invalid_request (key is bad) [error id 2f0c]",
            id="documented",
        ),
        pytest.param(b'{"message":"bad"}', "application/json", "400 (bad)", id="message only"),
        pytest.param(b'{"code":"x"}', "application/json", "400 x", id="code only"),
        pytest.param(b"", "", "400 (empty body)", id="empty"),
        pytest.param(
            b"{", "application/json", "400 (no JSON: 1 bytes of application/json)", id="cut"
        ),
        pytest.param(
            b"[1]", "application/json", "400 (no JSON: 3 bytes of application/json)", id="no object"
        ),
        pytest.param(
            b"<html>", "text/html; charset=x", "400 (no JSON: 6 bytes of text/html)", id="html"
        ),
        pytest.param(b"\xff\xfe", "", "400 (no JSON: 2 bytes of no type)", id="garbage"),
        pytest.param(b'{"code":{},"message":["a"],"id":null}', "", "400", id="wrong types"),
        pytest.param(b'{"message":"a\\n  b\\tc"}', "", "400 (a b c)", id="several lines"),
    ],
)
def test_error_bodies_are_read_whatever_they_are(raw: bytes, content_type: str, shown: str) -> None:
    """Documented, abridged, empty or not JSON at all (launchdarkly-api contract 1.4)."""
    reply = read(400, raw, content_type)
    assert reply.error == shown
    assert reply.message
    assert reply.ruling.verdict is Verdict.REFUSED


def test_the_token_never_appears_in_a_message() -> None:
    """P8: not even if LaunchDarkly repeats it."""
    reply = read(401, f'{{"code":"unauthorized","message":"{TOKEN} is no good"}}'.encode())
    assert TOKEN not in reply.error + reply.message + reply.retry(DOING).detail
    assert "[redacted] is no good" in reply.error


def test_without_a_token_there_is_nothing_to_redact() -> None:
    """An empty token is in every text, and stands for none."""
    raw = b'{"message":"no token"}'
    reply = read_reply(401, raw, content_type="", secrets=[""], started=0.0, after=0.0)
    assert reply.error == "401 (no token)"


def test_messages_are_kept_short() -> None:
    """A proxy's novel does not fill the log."""
    reply = read(500, b'{"message":"' + b"x" * 100_000 + b'"}')
    assert len(reply.message) == MAX_MESSAGE


def test_a_secret_is_found_before_a_message_is_cut() -> None:
    """Half a token is no secret any more that a search would find, but it is half a token."""
    padding = "x" * (MAX_MESSAGE - 21) + " "
    credential = "sdk-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
    for said in (TOKEN, credential):
        body = orjson.dumps({"message": padding + said, "code": said})
        reply = read_reply(400, body, content_type="", secrets=[TOKEN], started=0.0, after=0.0)
        assert said[:12] not in reply.message + reply.error


def test_an_error_too_large_to_come_from_launchdarkly_is_not_parsed() -> None:
    """Parsing it would hold up everything else."""
    body = orjson.dumps({"code": "x" * MAX_ERROR})
    reply = read_reply(400, body, content_type="a/b", secrets=[], started=0.0, after=0.0)
    assert f"no JSON: {len(body)} bytes of a/b" in reply.error


@given(st.integers(300, 599), st.binary(max_size=200), st.text(max_size=20))
def test_no_body_is_too_strange_to_read(status: int, raw: bytes, content_type: str) -> None:
    """Reading an error never fails, and says at least the status."""
    assert read(status, raw, content_type).error.startswith(str(status))


def test_successful_bodies_are_parsed_only_on_demand() -> None:
    """A full segment comes back with every write; nobody looks at most of them."""
    assert read(200, b"not json").error == ""
    assert read(200, b"not json").document() is None
    assert read(200, b"[]").document() is None
    assert read(200, b'{"version": 2}').document() == {"version": 2}


def test_the_outcome_of_a_reply_says_what_happened_and_what_to_do() -> None:
    """What was tried, the answer, who waits, and advice; the wait the server asked for."""
    reply = read(429, b'{"code":"rate_limited","message":"slow down"}', after=4.5)
    assert reply.retry(DOING) == Retry(
        RetryReason.RATE_LIMITED,
        "writing to segment vip: LaunchDarkly answered 429 rate_limited (slow down); "
        "every write waits",
        after=4.5,
        scope=Scope.EVERYTHING,
        patience=Patience.TRANSIENT,
    )
    forbidden = read(403, b'{"message":"approval is required"}').retry(DOING)
    assert "the segment waits. This environment requires approvals" in forbidden.detail


def test_only_membership_can_be_ambiguous() -> None:
    """R1 is about members: a look-up or a creation that is applied late does no harm."""
    gateway = read(504, b"")
    assert gateway.retry(DOING, writes_members=True).ambiguous_since == 7.0
    assert gateway.retry(DOING).ambiguous_since is None
    assert read(500, b"").retry(DOING, writes_members=True).ambiguous_since is None
    silent = NoAnswer(Silence.TIMEOUT, "none within 10 s", ambiguous_since=7.0)
    assert silent.retry(DOING, writes_members=True).ambiguous_since == 7.0
    assert silent.retry(DOING).ambiguous_since is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(
            NoAnswer(Silence.TIMEOUT, "none within 10 s", ambiguous_since=7.0),
            Retry(
                RetryReason.TIMEOUT,
                "writing to segment vip: no answer (none within 10 s); the request may still be "
                "applied. ldsync tries again",
                ambiguous_since=7.0,
            ),
            id="timeout",
        ),
        pytest.param(
            NoAnswer(Silence.CONNECTION, "refused"),
            Retry(
                RetryReason.CONNECTION,
                "writing to segment vip: no answer (refused); the request was not sent. "
                "ldsync tries again",
            ),
            id="refused",
        ),
        pytest.param(
            NoAnswer(Silence.GATE, "not sent: rate limited", after=60.0),
            Retry(
                RetryReason.RATE_LIMITED,
                "writing to segment vip: not sent: rate limited",
                after=60.0,
                scope=Scope.EVERYTHING,
            ),
            id="gate",
        ),
        pytest.param(
            NoAnswer(Silence.LEASE, "not sent: partitions may be lost"),
            Retry(
                RetryReason.LEASE,
                "writing to segment vip: not sent: partitions may be lost; ldsync asks its group "
                "first",
            ),
            id="lease",
        ),
    ],
)
def test_silence_is_an_outcome_too(answer: NoAnswer, expected: Retry) -> None:
    """Said with whether the request can still be applied."""
    assert answer.retry(DOING, writes_members=True) == expected


def test_success_that_shows_nothing_waits_for_an_operator() -> None:
    """A login page answers 200, too; and what stood behind it may have got the request."""
    retry = read(200, b"<html>").implausible(DOING, "it shows no segment", writes_members=True)
    assert (retry.reason, retry.patience) == (RetryReason.UNEXPECTED, Patience.OPERATOR)
    assert retry.ambiguous_since == 7.0
    assert "it shows no segment" in retry.detail
