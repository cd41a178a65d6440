"""Names that nobody knows are refused, in the file and in the environment, with a hint."""

from pathlib import Path

import pytest

from tests.support.configs import REQUIRED_VARIABLES, problems_of

SERVICE_LINKS = {
    "LDSYNC_PORT": "tcp://10.0.0.1:9108",
    "LDSYNC_PORT_9108_TCP": "tcp://10.0.0.1:9108",
    "LDSYNC_PORT_9108_TCP_ADDR": "10.0.0.1",
    "LDSYNC_PORT_9108_TCP_PORT": "9108",
    "LDSYNC_PORT_9108_TCP_PROTO": "tcp",
    "LDSYNC_SERVICE_HOST": "10.0.0.1",
    "LDSYNC_SERVICE_PORT": "9108",
    "LDSYNC_SERVICE_PORT_METRICS": "9108",
    "LDSYNC_ADMIN_PORT": "tcp://10.0.0.1:9108",
    "LDSYNC_ADMIN_SERVICE_HOST": "10.0.0.1",
}


@pytest.mark.parametrize(
    ("toml", "key", "hint"),
    [
        pytest.param("kafka.gruop_id = 1", "kafka.gruop_id", "did you mean group_id?", id="key"),
        pytest.param("kafak.topics = 1", "kafak", "did you mean kafka?", id="table"),
        pytest.param("max_size = 1", "max_size", "did you mean batch.max_size?", id="no table"),
        pytest.param(
            "kafka.max_size = 1", "kafka.max_size", "did you mean batch.max_size?", id="other table"
        ),
        pytest.param("kafka.tls.ca = 1", "kafka.tls", "is unknown", id="a table in a table"),
        pytest.param("[[rules]]\nname = 1", "rules", "is unknown", id="an array of tables"),
        pytest.param("[[mapping]]\nname = 1", "mapping", "did you mean mappings?", id="a list"),
        pytest.param(
            '[[mappings]]\nname = "a"\n[[mappings]]\ntriger = 1',
            "mappings[2].triger",
            "did you mean trigger?",
            id="in a list",
        ),
        pytest.param("zzz = 1", "zzz", "is unknown", id="nothing like it"),
    ],
)
def test_an_unknown_key_of_the_file_is_refused(
    tmp_path: Path, toml: str, key: str, hint: str
) -> None:
    """A misspelt key is named, with its file and the key that was probably meant."""
    file = tmp_path / "config.toml"
    file.write_text(toml, encoding="utf-8")

    (problem,) = problems_of(file, REQUIRED_VARIABLES)

    assert (problem.key, problem.source) == (key, str(file))
    assert hint in problem.message


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        pytest.param(
            "LDSYNC_KAFAK__TOPICS", "did you mean LDSYNC_KAFKA__TOPICS?", id="the section"
        ),
        pytest.param("LDSYNC_KAFKA__TOPIKS", "did you mean LDSYNC_KAFKA__TOPICS?", id="the key"),
        pytest.param(
            "LDSYNC_KAFKA_GROUP_ID", "did you mean LDSYNC_KAFKA__GROUP_ID?", id="one underscore"
        ),
        pytest.param(
            "ldsync_kafka__group_id", "did you mean LDSYNC_KAFKA__GROUP_ID?", id="small letters"
        ),
        pytest.param(
            "LDSYNC_LAUNCHDARKLY__API_TOKEN_FIEL",
            "did you mean LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE?",
            id="the file of a secret",
        ),
        pytest.param("LDSYNC_LOG__LEVEL_FILE", "only secrets are read from files", id="no secret"),
        pytest.param(
            "LDSYNC_ADMIN_PORT", "did you mean LDSYNC_ADMIN__PORT?", id="like Kubernetes'"
        ),
        pytest.param("LDSYNC_KAFKA", "is unknown", id="a whole section"),
        pytest.param("LDSYNC_MAPPINGS", "can only be given in the file", id="a list"),
        pytest.param("LDSYNC_MAPPINGS__0__NAME", "[[mappings]] can only be", id="in a list"),
        pytest.param("LDSYNC_CONFIG_FILE", "is unknown", id="the file of the file"),
    ],
)
def test_an_unknown_variable_with_our_prefix_is_refused(variable: str, hint: str) -> None:
    """Also when it is the section that is misspelt, which pydantic-settings overlooks."""
    (problem,) = problems_of(None, {**REQUIRED_VARIABLES, variable: "9000"})

    assert (problem.key, problem.source) == (variable, "environment")
    assert hint in problem.message


@pytest.mark.parametrize("name", SERVICE_LINKS)
def test_what_kubernetes_says_about_services_is_not_for_us(name: str) -> None:
    """A Service called `ldsync` puts variables with our prefix into every container."""
    assert problems_of(None, {**REQUIRED_VARIABLES, name: SERVICE_LINKS[name]}) == []


def test_other_variables_are_not_looked_at() -> None:
    """Only our prefix concerns us."""
    assert problems_of(None, {**REQUIRED_VARIABLES, "KAFKA__TOPICS": "x", "XLDSYNC_A": "x"}) == []
