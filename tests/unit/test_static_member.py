"""Static membership: what an early loss of a session means, and what the protocol is told."""

from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from structlog.testing import capture_logs

from ldsync.config import KafkaSettings
from ldsync.kafka.static import InsistentRoundRobin, StaticMember, only_of, partitions_of
from ldsync.kafka.trouble import Trouble
from ldsync.sync.ledger import Partition

if TYPE_CHECKING:
    from ldsync.kafka.consumer import Consumer


def encoded(topics: dict[str, list[int]]) -> bytes:
    """An assignment as a broker hands it out."""
    return cast("bytes", ConsumerProtocolMemberAssignment(0, list(topics.items()), b"").encode())


@pytest.mark.parametrize(
    ("instance_id", "owned_seconds", "said"),
    [
        pytest.param("pod-0", 0.0, True, id="right_after_the_assignment"),
        pytest.param("pod-0", 29.5, True, id="just_before_it_could_have_timed_out"),
        pytest.param("pod-0", 30.0, False, id="it_may_have_timed_out"),
        pytest.param("", 0.0, False, id="without_an_id"),
    ],
)
def test_a_session_that_ends_too_early_is_laid_to_another_process(
    monkeypatch: pytest.MonkeyPatch, instance_id: str, owned_seconds: float, *, said: bool
) -> None:
    """A session of 30 s cannot time out sooner than 30 s after an assignment."""
    settings = KafkaSettings(group_instance_id=instance_id, session_timeout_seconds=30.0)
    log = structlog.get_logger()
    member = StaticMember(cast("Consumer", None), settings, Trouble(settings, log), log)
    clock: dict[str, Any] = {"now": 1000.0}
    monkeypatch.setattr("time.monotonic", lambda: clock["now"])
    member.assigned()
    clock["now"] += owned_seconds
    with capture_logs() as logs:
        member.lost()
        member.lost()
    named = [each for each in logs if "kafka.group_instance_id" in each["advice"]]
    assert len(named) == said  # and not with every loss
    assert all(each["event"] == "group.instance_id_contested" for each in named)


def test_what_a_member_says_of_itself_is_new_whenever_it_insists() -> None:
    """A broker compares it, and shares out the partitions anew if it differs."""
    assignor = InsistentRoundRobin()
    said = [assignor.metadata(["a"]).encode()]
    for _ in range(2):
        assignor.insist()
        said.append(assignor.metadata(["a"]).encode())
    assert len(set(said)) == 3
    assert said[0] == InsistentRoundRobin().metadata(["a"]).encode()


def test_topics_that_are_not_subscribed_to_leave_an_assignment() -> None:
    """And an assignment that has no others is left as it is."""
    given = encoded({"old": [0, 1], "new": [2]})
    assert only_of({"old", "new", "more"}, given) is None
    rest = only_of({"new"}, given)
    assert rest is not None
    assert partitions_of([rest]) == {Partition("new", 2)}


def test_the_partitions_of_a_group_are_those_of_all_its_members() -> None:
    """Members may have none."""
    given = [encoded({"a": [0, 2]}), b"", encoded({}), encoded({"a": [1], "b": [0]})]
    assert partitions_of(given) == {
        Partition("a", 0),
        Partition("a", 1),
        Partition("a", 2),
        Partition("b", 0),
    }
