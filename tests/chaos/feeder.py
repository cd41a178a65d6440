"""Writes a history to the topic at its times, whatever happens to the brokers."""

import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Iterator, Sequence

from confluent_kafka import KafkaError, KafkaException, Producer

from tests.chaos.history import Post

_LIMIT = 60.0  # seconds that what was written may take to arrive
_TRANSACTION = 0.7  # seconds of the history in one transaction
_SETTINGS = {
    "linger.ms": 5,
    "acks": "all",
    "enable.idempotence": True,
    "topic.metadata.refresh.interval.ms": 500,
    "log_level": 0,
}


class Feeder:
    """A producer in a thread of its own.

    Args:
        bootstrap_servers: The brokers.
        topic: The topic.
        posts: What to write, by time.
        transactions: Whether every other stretch of it is one transaction, some of them aborted.
    """

    def __init__(
        self, bootstrap_servers: str, topic: str, posts: Sequence[Post], *, transactions: bool
    ) -> None:
        self._servers = bootstrap_servers
        self._topic = topic
        self._posts = posts
        self._transactions = transactions
        self._over = threading.Event()
        #: Partitions below this one may be written to; for others it waits.
        self.known = 1 << 30

    def stop(self) -> None:
        """Write no more."""
        self._over.set()

    def run(self) -> None:
        """Write it all; returns when the brokers have it."""
        began = time.monotonic()
        plain = Producer({"bootstrap.servers": self._servers, **_SETTINGS})
        for number, stretch in enumerate(_stretches(self._posts)):
            if self._over.is_set():
                break
            if self._transactions and number % 2:
                plain.flush(_LIMIT)  # or what comes later would overtake it
                self._transaction(stretch, began, commit=number % 6 != 3)
            else:
                self._write(plain, stretch, began)
        plain.flush(_LIMIT)

    def _write(self, producer: Producer, posts: Sequence[Post], began: float) -> None:
        for post in posts:
            if self._over.wait(max(0.0, began + post.at - time.monotonic())):
                return
            while post.partition >= self.known and not self._over.wait(0.05):
                pass
            self._send(producer, post)

    def _send(self, producer: Producer, post: Post) -> None:
        """Give a record to the producer, as soon as it has room and knows the partition."""
        while not self._over.is_set():
            try:
                producer.produce(
                    self._topic, value=post.value, key=post.key, partition=post.partition
                )
            except BufferError:
                producer.poll(0.05)
            except KafkaException as problem:
                if problem.args[0].code() != KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001 - so named
                    raise
                self._over.wait(0.2)
            else:
                break
        producer.poll(0)

    def _transaction(self, posts: Sequence[Post], began: float, *, commit: bool) -> None:
        """What the brokers do not take is aborted by them, after a while."""
        own = {"transactional.id": f"chaos-{uuid.uuid4().hex}", "transaction.timeout.ms": 8000}
        producer = Producer({"bootstrap.servers": self._servers, **_SETTINGS, **own})
        with contextlib.suppress(KafkaException):
            producer.init_transactions(20.0)
            producer.begin_transaction()
            self._write(producer, posts, began)
            producer.flush(20.0)
            end = producer.commit_transaction if commit else producer.abort_transaction
            end(20.0)
        producer.purge()


def _stretches(posts: Sequence[Post]) -> Iterator[list[Post]]:
    for _, stretch in itertools.groupby(posts, key=lambda post: int(post.at / _TRANSACTION)):
        yield list(stretch)
