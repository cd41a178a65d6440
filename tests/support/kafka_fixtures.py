"""The pytest fixtures of the suites on real Apache Kafka; conftest files import them from here."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.real_kafka import RealKafka


@pytest.fixture(scope="session")
def kafka_directory() -> Iterator[Path]:
    """A directory for brokers, removed at the end: each writes tens of megabytes."""
    directory = Path(tempfile.mkdtemp(prefix="ldsync-kafka-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def real_kafka(kafka_directory: Path) -> Iterator[RealKafka]:
    """One broker for all tests of this process; each takes a topic and a group of its own.

    A test that stops the broker or wants other listeners makes its own `RealKafka`.
    """
    kafka = RealKafka(kafka_directory / "shared")
    try:
        kafka.start()
        yield kafka
    finally:
        kafka.stop()
