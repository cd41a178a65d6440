"""Looking at and changing a Kafka cluster from a test, by librdkafka: a client ldsync does not use.

Blocking calls with time limits; from a coroutine call them through `asyncio.to_thread`.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import confluent_kafka.admin
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    ElectionType,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

# Typed, but its names are not marked as exported.
_admin: Any = confluent_kafka.admin
_COORDINATOR_COMES = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
LIMIT = 30.0  # seconds that any one question may take


class KafkaAdmin:
    """An administrator of the cluster at `bootstrap_servers`."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._client = _admin.AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})

    def is_up(self, limit: float = 1.0) -> bool:
        """Whether a broker answers a metadata request within `limit` seconds."""
        try:
            return bool(self._client.list_topics(timeout=limit).brokers)
        except KafkaException:
            return False

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        config: Mapping[str, str] | None = None,
        replicas: int = 1,
    ) -> None:
        """Create a topic and wait until every partition has a leader."""
        topic = _admin.NewTopic(name, partitions, replicas, config=dict(config or {}))
        self._client.create_topics([topic], operation_timeout=LIMIT)[name].result(LIMIT)
        deadline = time.monotonic() + LIMIT
        while len(self.partitions(name)) < partitions or not self._is_led(name):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name}: not every partition of the new topic has a leader")
            time.sleep(0.02)

    def _is_led(self, topic: str) -> bool:
        """Whether every known partition answers for itself; metadata alone is a moment early."""
        try:
            self.end_offsets(topic)
        except KafkaException:  # not leader, unknown partition, unknown epoch: by the moment
            return False
        return True

    def add_partitions(self, name: str, total: int) -> None:
        """Grow a topic to `total` partitions."""
        self._client.create_partitions([_admin.NewPartitions(name, total)])[name].result(LIMIT)

    def delete_topic(self, name: str) -> None:
        """Delete a topic."""
        self._client.delete_topics([name], operation_timeout=LIMIT)[name].result(LIMIT)

    def topic_config(self, name: str) -> dict[str, str]:
        """The effective configuration of a topic."""
        resource = _admin.ConfigResource(_admin.ResourceType.TOPIC, name)
        entries = self._client.describe_configs([resource])[resource].result(LIMIT)
        return {key: entry.value for key, entry in entries.items()}

    def topics(self) -> set[str]:
        """The names of all topics."""
        return set(self._client.list_topics(timeout=LIMIT).topics)

    def prefer_first_replicas(self) -> None:
        """Have every partition led by the first of its replicas, where that is in step."""
        self._client.elect_leaders(ElectionType.PREFERRED, None).result(LIMIT)

    def set_topic_config(self, name: str, key: str, value: str) -> None:
        """Change one setting of a topic."""
        change = _admin.ConfigEntry(key, value, incremental_operation=_admin.AlterConfigOpType.SET)
        resource = _admin.ConfigResource(
            _admin.ResourceType.TOPIC, name, incremental_configs=[change]
        )
        self._client.incremental_alter_configs([resource])[resource].result(LIMIT)

    def partitions(self, topic: str) -> list[int]:
        """The partition numbers of a topic."""
        return sorted(self._client.list_topics(topic, timeout=LIMIT).topics[topic].partitions)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """For each partition, the offset that the next record will get."""
        return self._offsets(topic, _admin.OffsetSpec.latest())

    def start_offsets(self, topic: str) -> dict[int, int]:
        """For each partition, the offset of the oldest record still there."""
        return self._offsets(topic, _admin.OffsetSpec.earliest())

    def _offsets(self, topic: str, wanted: Any) -> dict[int, int]:
        question = {TopicPartition(topic, number): wanted for number in self.partitions(topic)}
        answers = self._client.list_offsets(question, request_timeout=LIMIT)
        return {place.partition: answer.result(LIMIT).offset for place, answer in answers.items()}

    def group_offsets(self, group: str, topic: str) -> dict[int, int]:
        """For each partition that the group has committed, the offset it committed."""
        places = [TopicPartition(topic, number) for number in self.partitions(topic)]
        return {place.partition: place.offset for place in self._committed(group, places)}

    def group_marks(self, group: str, topic: str) -> dict[int, str]:
        """For each partition that the group has committed, the metadata of the commit."""
        places = [TopicPartition(topic, number) for number in self.partitions(topic)]
        return {place.partition: place.metadata or "" for place in self._committed(group, places)}

    def _committed(self, group: str, places: list[TopicPartition]) -> list[TopicPartition]:
        """Ask as somebody of the group who is no member.

        An administrator's question ends the process if a broker is not the coordinator any more:
        librdkafka looks for its own group then (confluent-kafka-javascript issue 374).
        """
        asker = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        try:
            answer = asker.committed(places, timeout=LIMIT)
        finally:
            asker.close()
        return [place for place in answer if place.error is None and place.offset >= 0]

    def set_group_offsets(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Move a group that has no members."""
        places = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
        question = [ConsumerGroupTopicPartitions(group, places)]
        _patiently(lambda: self._client.alter_consumer_group_offsets(question)[group])

    def group_members(self, group: str) -> dict[str, list[tuple[str, int]]]:
        """For each member of a group (its client id), the partitions that it was given."""
        description = _patiently(lambda: self._client.describe_consumer_groups([group])[group])
        return {
            f"{member.client_id}/{member.member_id}": [
                (place.topic, place.partition) for place in member.assignment.topic_partitions
            ]
            for member in description.members
        }

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Delete the records of each partition below an offset, as retention would."""
        places = [TopicPartition(topic, number, offset) for number, offset in before.items()]
        for answer in self._client.delete_records(places).values():
            answer.result(LIMIT)

    def add_scram_user(self, name: str, password: str, mechanism: str = "SCRAM-SHA-512") -> None:
        """Let a user log in by `SCRAM-SHA-256` or `SCRAM-SHA-512`."""
        kind = _admin.ScramMechanism[mechanism.replace("-", "_")]
        change = _admin.UserScramCredentialUpsertion(
            name, _admin.ScramCredentialInfo(kind, 4096), password.encode()
        )
        self._client.alter_user_scram_credentials([change])[name].result(LIMIT)

    def allow(self, user: str, operation: str, kind: str, name: str) -> None:
        """Let a user do something (`WRITE`) with a resource (`TOPIC`), by its whole name."""
        acl = _admin.AclBinding(*_right(user, operation, kind, name))
        for answer in self._client.create_acls([acl]).values():
            answer.result(LIMIT)

    def disallow(self, user: str, operation: str, kind: str, name: str) -> None:
        """Take back what was allowed."""
        acl = _admin.AclBindingFilter(*_right(user, operation, kind, name))
        for answer in self._client.delete_acls([acl]).values():
            answer.result(LIMIT)

    def produce(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]], **settings: Any
    ) -> int:
        """Write (key, value) pairs, partitioned as Java does it; return how many were acknowledged.

        Keyword arguments are librdkafka settings with "_" for ".".

        Raises:
            RuntimeError: at least one was not acknowledged.
        """
        with self._writing(topic, settings) as (_, write):
            return sum(write(key, value) for key, value in records)

    def produce_transaction(
        self,
        topic: str,
        records: Iterable[tuple[bytes | None, bytes | None]],
        *,
        commit: bool = True,
        **settings: Any,
    ) -> None:
        """Write (key, value) pairs in one transaction, then commit or abort it."""
        named = {"transactional.id": f"test-{uuid.uuid4().hex}"}
        with self._writing(topic, named | settings) as (producer, write):
            producer.init_transactions(LIMIT)
            producer.begin_transaction()
            for key, value in records:
                write(key, value)
            # The flush comes first: an abort would purge what was not sent yet.
            producer.flush(LIMIT)
            end = producer.commit_transaction if commit else producer.abort_transaction
            end(LIMIT)

    @contextmanager
    def _writing(
        self, topic: str, settings: Mapping[str, Any]
    ) -> Iterator[tuple[Producer, Callable[[bytes | None, bytes | None], bool]]]:
        """A producer and a way to write with it that waits while its queue is full."""
        failures: list[KafkaError] = []

        def written(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                failures.append(error)

        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "acks": "all",
                "log_level": 0,
            }
            | {name.replace("_", "."): value for name, value in settings.items()}
        )

        def write(key: bytes | None, value: bytes | None) -> bool:
            while True:
                try:
                    producer.produce(topic, key=key, value=value, on_delivery=written)
                except BufferError:
                    producer.poll(0.05)
                else:
                    return True

        yield producer, write
        if producer.flush(LIMIT * 2) or failures:
            raise RuntimeError(f"{topic}: not every record was written: {failures[:3]}")

    def read(self, topic: str, **settings: Any) -> list[Any]:
        """Every record of a topic up to its present end, in order of partition and offset.

        Keyword arguments are librdkafka settings with "_" for ".". Tried twice: a client that looks
        for the leader while it moves may not find it in time.
        """
        try:
            records = list(self.stream(topic, **settings))
        except RuntimeError:
            records = list(self.stream(topic, **settings))
        return sorted(records, key=lambda record: (record.partition(), record.offset()))

    def stream(self, topic: str, **settings: Any) -> Iterator[Any]:
        """The same one by one, in order within a partition: for topics that memory does not hold.

        Raises:
            RuntimeError: nothing came for `LIMIT` seconds.
        """
        ends = self.end_offsets(topic)
        left = {
            number for number, start in self.start_offsets(topic).items() if start < ends[number]
        }
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "unused",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
            | {name.replace("_", "."): value for name, value in settings.items()}
        )
        try:
            consumer.assign([TopicPartition(topic, number, 0) for number in left])
            deadline = time.monotonic() + LIMIT
            while left:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{topic}: not read to the end: partitions {sorted(left)}")
                # It waits for as many as were asked for: the timeout is what a short topic takes.
                batch = consumer.consume(10_000, timeout=0.2)
                if batch:
                    deadline = time.monotonic() + LIMIT
                for record in batch:
                    error = record.error()
                    if error is None:
                        yield record
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - so named
                        left.discard(record.partition())
                    else:
                        raise KafkaException(error)
        finally:
            consumer.close()


def _right(user: str, operation: str, kind: str, name: str) -> tuple[Any, ...]:
    return (
        _admin.ResourceType[kind],
        name,
        _admin.ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        _admin.AclOperation[operation],
        _admin.AclPermissionType.ALLOW,
    )


def _patiently(ask: Callable[[], Any]) -> Any:
    """The result of a future about a group, asked for again while the coordinator comes up."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return ask().result(LIMIT)
        except KafkaException as error:
            if error.args[0].code() not in _COORDINATOR_COMES or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
