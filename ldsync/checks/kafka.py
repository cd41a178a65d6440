"""What `ldsync run` needs of Kafka: brokers, topics, the group's offsets, dead-letter topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ldsync.checks.finding import Finding, State
from ldsync.kafka.errors import SourceError, SourceMisconfigured
from ldsync.kafka.inspection import look, look_at_letter_topics

if TYPE_CHECKING:
    from ldsync.config import DeadLettersSettings, KafkaSettings, Settings
    from ldsync.kafka.inspection import LettersView, View

#: Whoever waits for the check sits in front of it.
_LONGEST_WAIT: Final = 10.0


async def check_kafka(settings: Settings) -> list[Finding]:
    """Look at Kafka; the group is not joined."""
    kafka = settings.kafka
    wait = min(kafka.start_timeout_seconds, _LONGEST_WAIT)
    try:
        view = await look(kafka.model_copy(update={"start_timeout_seconds": wait}))
    except SourceError as error:
        passing = "See whether brokers and topics are there, and can be reached from here"
        advice = "" if isinstance(error, SourceMisconfigured) else passing
        return [Finding("Kafka", State.FAILED, str(error), advice)]
    return [
        Finding("Kafka", State.OK, f"{kafka.bootstrap_servers} answers"),
        _topics(view),
        _group(kafka, view),
        *_static(kafka),
    ]


async def check_dead_letters(settings: Settings) -> list[Finding]:
    """Whether topics for dead letters can be written; none is made, and nothing is written."""
    name, letters = "dead letters", settings.dead_letters
    if not letters.enabled:
        off = "invalid records are only counted and logged (dead_letters.enabled)"
        return [Finding(name, State.OK, off)]
    try:
        view = await look_at_letter_topics(letters, settings.kafka)
    except SourceMisconfigured as error:
        return [Finding(name, State.FAILED, str(error))]
    except SourceError as error:
        return [Finding(name, State.UNKNOWN, str(error))]
    if view.denied:
        refused = f"Kafka does not allow this user to write to {', '.join(sorted(view.denied))}"
        advice = "Grant Write on it, or set dead_letters.enabled = false"
        return [Finding(name, State.FAILED, refused, advice)]
    if view.missing:
        return [_missing(letters, ", ".join(sorted(view.missing)))]
    found = [Finding(name, State.OK, "their topics exist and may be written")]
    if letters.replay_on_recovery or letters.recall_max_letters:
        found.append(_replays(view))
    return found


def _replays(view: LettersView) -> Finding:
    """Whether what is parked can be read again."""
    if not view.unreadable:
        return Finding("replays", State.OK, "parked changes can be read again")
    topics = ", ".join(sorted(view.unreadable))
    return Finding(
        "replays",
        State.WARNING,
        f"Kafka does not allow this user to read {topics}: what is parked there is not found after "
        "a start, and not applied again when its segment recovers",
        "Grant Read on it, or set dead_letters.replay_on_recovery = false and "
        "dead_letters.recall_max_letters = 0",
    )


def _missing(letters: DeadLettersSettings, topics: str) -> Finding:
    name = "dead letters"
    if letters.create_topic:
        detail = f"{topics} is missing, and ldsync makes it at the start if it may"
        return Finding(name, State.UNKNOWN, detail, "Allow Create on it, or create it")
    return Finding(
        name,
        State.FAILED,
        f"{topics} is missing, and ldsync is not to make it (dead_letters.create_topic)",
        "Create it, or set dead_letters.enabled = false",
    )


def _topics(view: View) -> Finding:
    sizes = (f"{name} ({_many(size, 'partition')})" for name, size in sorted(view.topics.items()))
    return Finding("topics", State.OK, ", ".join(sizes))


def _group(settings: KafkaSettings, view: View) -> Finding:
    group, total = settings.group_id, sum(view.topics.values())
    if view.lost:
        places = ", ".join(f"{place.topic}/{place.number}" for place in view.lost[:5])
        state = State.FAILED if settings.on_out_of_range == "stop" else State.WARNING
        return Finding(
            "group",
            state,
            f"{group} committed offsets that retention has deleted, in {places}",
            'Records were lost before they were read. With kafka.on_out_of_range = "earliest" it '
            "goes on with the oldest there are, else it stops; keep records for longer",
        )
    if not view.committed:
        return Finding(
            "group",
            State.OK,
            f"{group} has committed nothing: it begins at {settings.first_start} "
            "(kafka.first_start)",
        )
    detail = f"{group} has committed {len(view.committed)} of {_many(total, 'partition')}"
    return Finding("group", State.OK, f"{detail} and is {_many(view.behind, 'record')} behind")


def _static(settings: KafkaSettings) -> list[Finding]:
    """What an instance id means; nothing without one."""
    if not settings.group_instance_id:
        return []
    seconds = f"{settings.session_timeout_seconds:g} s"
    return [
        Finding(
            "instance id",
            State.OK,
            f"{settings.group_instance_id}: a restart within {seconds} moves no partitions; a stop "
            f"leaves them unread until then. No other process may have this id, and only a "
            "StatefulSet or the like can promise that (docs/delivery.md)",
        )
    ]


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
