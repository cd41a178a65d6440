"""What `ldsync run` needs of Kafka: brokers, topics, and the group's offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ldsync.checks.finding import Finding, State
from ldsync.kafka.errors import SourceError, SourceMisconfigured
from ldsync.kafka.inspection import look

if TYPE_CHECKING:
    from ldsync.config import KafkaSettings, Settings
    from ldsync.kafka.inspection import View

#: Whoever waits for the check sits in front of it.
_LONGEST_WAIT: Final = 10.0


async def check_kafka(settings: Settings) -> list[Finding]:
    """Look at Kafka; the group is not joined."""
    kafka = settings.kafka
    wait = min(kafka.start_timeout_seconds, _LONGEST_WAIT)
    try:
        view = await look(kafka.model_copy(update={"start_timeout_seconds": wait}))
    except SourceError as error:
        passing = "See whether the brokers are up and can be reached from here"
        advice = "" if isinstance(error, SourceMisconfigured) else passing
        return [Finding("Kafka", State.FAILED, str(error), advice)]
    return [
        Finding("Kafka", State.OK, f"{kafka.bootstrap_servers} answers"),
        _topics(view),
        _group(kafka, view),
    ]


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


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
