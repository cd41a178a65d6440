"""What keeps ldsync out of a secured Kafka: one clear error each, the exit code, and the check."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ldsync.checks.finding import State
from ldsync.checks.kafka import check_dead_letters, check_kafka
from ldsync.config import Settings
from tests.support.certificates import Certificates, make_certificates
from tests.support.deployment import deployed
from tests.support.kafka_source import kafka_settings
from tests.support.ldsync_process import QUICK, LdsyncProcess, merged
from tests.support.ports import unused_port
from tests.support.real_kafka import RealKafka
from tests.support.traffic import entering

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

PASSWORD = "correct-horse-battery-staple"
USER = "scram-sha-512"


@pytest.fixture(scope="module")
def certificates(kafka_directory: Path) -> Certificates:
    """An authority that lives as long as these tests, and what it has signed."""
    return make_certificates(kafka_directory / "certificates-e2e")


@pytest.fixture(scope="module")
def secured(kafka_directory: Path, certificates: Certificates) -> Iterator[RealKafka]:
    """A broker with every sort of listener, and topics and a group that are somebody else's.

    Everybody may use what nobody has a rule for.
    """
    kafka = RealKafka(
        kafka_directory / "secured-e2e",
        plain_users={},
        tls=certificates.server,
        expired=certificates.expired_server,
        config={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "true",
        },
    )
    try:
        kafka.start()
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            kafka.admin.add_scram_user(mechanism.lower(), PASSWORD, mechanism)
        for topic in ("events", "hidden", "unreadable", "guarded", "guarded.dead-letters"):
            kafka.create_topic(topic)
        kafka.admin.allow("owner", "READ", "TOPIC", "hidden")
        kafka.admin.allow(USER, "DESCRIBE", "TOPIC", "unreadable")
        kafka.admin.allow(USER, "DESCRIBE", "TOPIC", "guarded.dead-letters")
        kafka.admin.allow("owner", "READ", "GROUP", "theirs")
        yield kafka
    finally:
        kafka.stop()


def scram(
    kafka: RealKafka, files: Certificates, mechanism: str = "SCRAM-SHA-512"
) -> dict[str, Any]:
    """The section `[kafka]` for a login over TLS; the user is named after the mechanism."""
    return {
        "bootstrap_servers": kafka.sasl_ssl_bootstrap_servers,
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(files.authority),
        "sasl_mechanism": mechanism,
        "sasl_username": mechanism.lower(),
        "sasl_password": PASSWORD,
    }


def mutual(kafka: RealKafka, files: Certificates) -> dict[str, Any]:
    """The section `[kafka]` for TLS with a client certificate."""
    return {
        "bootstrap_servers": kafka.ssl_bootstrap_servers,
        "security_protocol": "SSL",
        "ssl_cafile": str(files.authority),
        "ssl_certfile": str(files.client_certificate),
        "ssl_keyfile": str(files.client_key),
    }


@pytest.mark.parametrize("way", ["SCRAM-SHA-256", "SCRAM-SHA-512", "mutual TLS"])
async def test_events_are_delivered_over_tls(
    secured: RealKafka, certificates: Certificates, tmp_path: Path, way: str
) -> None:
    """The whole road, dead letters included; `check` agrees."""
    async with deployed(secured, tmp_path, 1) as deployment:
        if way == "mutual TLS":
            kafka = mutual(secured, certificates)
        else:
            kafka = scram(secured, certificates, way)
        process = deployment.launch({"kafka": kafka})
        await deployment.produce([*entering(10, "vip"), (b"k", b"no JSON")])
        await deployment.until_caught_up()
        assert len(deployment.members()) == 10
        assert await process.metric("ldsync_dead_letters_total") == 1
        assert PASSWORD not in process.output


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is wrong: what differs from good settings, how it ends, and what is said.

    `checked` is what `ldsync check` says, if that is something else; none of it if it cannot know.
    """

    way: str = "scram"
    changes: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    listener: str = ""
    code: int = 78
    words: tuple[str, ...] = ()
    checked: tuple[str, ...] | None = None


CASES = {
    "SCRAM: wrong password": Case(
        changes={"sasl_password": "wrong-" + PASSWORD},
        words=("refused the login by SCRAM-SHA-512", "kafka.sasl_username and kafka.sasl_password"),
    ),
    "SCRAM: wrong authority": Case(
        files={"ssl_cafile": "stranger"},
        words=("the broker's certificate is not accepted", "kafka.ssl_cafile"),
    ),
    "the broker's certificate has expired": Case(
        way="mutual",
        listener="expired_bootstrap_servers",
        words=("the broker's certificate is not accepted: certificate has expired",),
    ),
    "the broker has another name": Case(
        listener="elsewhere",
        words=("the broker's certificate is not accepted", "kafka.ssl_check_hostname"),
    ),
    "the client's certificate has expired": Case(
        way="mutual",
        files={"ssl_certfile": "expired_client_certificate", "ssl_keyfile": "expired_client_key"},
        words=("TLS could not be agreed on", "kafka.ssl_certfile"),
    ),
    "the client's certificate is signed by somebody else": Case(
        way="mutual",
        files={"ssl_certfile": "stranger", "ssl_keyfile": "stranger_key"},
        words=("TLS could not be agreed on", "kafka.ssl_certfile"),
    ),
    "a topic that may not be described": Case(
        changes={"topics": ["hidden"]},
        words=("does not allow this user to describe topic hidden", "grant Describe and Read"),
    ),
    "a topic that may not be read": Case(
        changes={"topics": ["unreadable"]},
        words=("does not let this user read", "unreadable", "grant Read"),
        checked=(),  # what needs Read is not asked
    ),
    "a group that may not be joined": Case(
        changes={"group_id": "theirs"},
        words=("theirs", "grant Read on"),
    ),
    "dead letters that may not be written": Case(
        changes={"topics": ["guarded"]},
        words=("does not let this user write dead letters", "grant Write on guarded.dead-letters"),
        checked=("does not allow this user to write to guarded.dead-letters",),
    ),
}


def section(case: Case, kafka: RealKafka, files: Certificates) -> dict[str, Any]:
    """The section `[kafka]` of a case."""
    found = (mutual if case.way == "mutual" else scram)(kafka, files)
    paths = {"stranger_key": files.stranger.with_suffix(".key")}
    changes: dict[str, Any] = {
        key: str(paths.get(name) or getattr(files, name)) for key, name in case.files.items()
    }
    if case.listener == "elsewhere":
        changes["bootstrap_servers"] = found["bootstrap_servers"].replace("127.0.0.1", "127.1")
    elif case.listener:
        changes["bootstrap_servers"] = getattr(kafka, case.listener)
    return {"topics": ["events"], "group_id": "ours"} | found | changes | dict(case.changes)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_keeps_us_out_is_said_once_and_ends_with_its_code(
    secured: RealKafka, certificates: Certificates, tmp_path: Path, case: Case
) -> None:
    """What, to what, and what to do; no traceback, no secret; `ldsync check` says the same."""
    kafka = section(case, secured, certificates)
    launchdarkly = {
        "base_url": f"http://127.0.0.1:{unused_port()}",
        "project_key": "shop",
        "environment_key": "production",
    }
    process = LdsyncProcess(
        tmp_path / "process", merged(QUICK, {"kafka": kafka, "launchdarkly": launchdarkly})
    )
    process.start()
    try:
        assert await process.exit_code(30) == case.code
    finally:
        process.kill()
    lines = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
    errors = [line for line in lines if line["level"] in {"error", "critical"}]
    assert len(errors) == 1, process.output
    for word in case.words:
        assert word in errors[0]["detail"]
    assert "Traceback" not in process.output
    assert PASSWORD not in process.output

    settings = Settings(
        kafka=kafka_settings(
            **kafka
            | {
                "topics": tuple(kafka["topics"]),
                "sasl_password": SecretStr(kafka.get("sasl_password", "")),
                "start_timeout_seconds": 5.0,
            }
        )
    )
    found = [*await check_kafka(settings), *await check_dead_letters(settings)]
    failed = " ".join(each.detail for each in found if each.state is State.FAILED)
    for word in case.words if case.checked is None else case.checked:
        assert word in failed
    assert PASSWORD not in failed
