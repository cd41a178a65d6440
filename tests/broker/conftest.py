"""What the tests here stand on: a real Apache Kafka."""

from tests.support.kafka_fixtures import kafka_directory, real_kafka

__all__ = ["kafka_directory", "real_kafka"]
