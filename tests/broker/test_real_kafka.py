"""What the broker suite stands on: listeners with security, a node that comes back as it was."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.certificates import make_certificates
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.broker

SCRAM = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "ben", "sasl.password": "two"}
PLAIN = {"sasl.mechanism": "PLAIN", "sasl.username": "ann", "sasl.password": "one"}


def _is_let_in(settings: dict[str, str]) -> bool:
    client = AdminClient({**settings, "log_level": "0"})
    try:
        return bool(client.list_topics(timeout=3).brokers)
    except KafkaException:
        return False


def test_a_broker_with_security_lets_in_only_who_shows_what_it_asks_for(
    kafka_directory: Path,
) -> None:
    """SASL passwords and client certificates are really checked, also after a crash."""
    files = make_certificates(kafka_directory / "certificates")
    kafka = RealKafka(kafka_directory / "secure", plain_users={"ann": "one"}, tls=files.server)
    try:
        kafka.start()
        kafka.admin.add_scram_user("ben", "two")
        kafka.kill()
        kafka.start()
        sasl = {
            "bootstrap.servers": kafka.sasl_bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
        }
        assert _is_let_in({**sasl, **SCRAM})
        assert _is_let_in({**sasl, **PLAIN})
        assert not _is_let_in({**sasl, **PLAIN, "sasl.password": "three"})
        tls = {
            "bootstrap.servers": kafka.ssl_bootstrap_servers,
            "security.protocol": "SSL",
            "ssl.ca.location": str(files.authority),
        }
        shown = {
            "ssl.certificate.location": str(files.client_certificate),
            "ssl.key.location": str(files.client_key),
        }
        assert _is_let_in({**tls, **shown})
        assert not _is_let_in(tls)
    finally:
        kafka.stop()
