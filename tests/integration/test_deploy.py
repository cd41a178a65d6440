"""What is deployed with ldsync is true: rules, dashboard, Compose file, Kubernetes example, image.

The judges are the tools themselves (promtool, docker-compose, kubectl) where they are installed,
and comparisons with the code that need no tool and always run.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from ldsync.config import AdminSettings, load
from ldsync.launchdarkly.outcome import RetryReason
from ldsync.sync.outcomes import RecordOutcome
from ldsync.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "ldsync.json"
METRIC = re.compile(r"\b(?:ldsync|process)_[a-z0-9_]+")
SELECTOR = re.compile(r"\b(ldsync_[a-z0-9_]+)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
# Attached by Prometheus itself, or by how it stores histograms.
TARGET_LABELS = {"job", "instance", "le"}


def _tool(name: str) -> str:
    """Where a tool is; the test is skipped, and says why, where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _run(*command: str | Path, cwd: Path = ROOT) -> str:
    """What a command printed; it fails the test with all of that unless it succeeds."""
    result = subprocess.run(
        command, cwd=cwd, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def _alert_rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    return rules


def _dashboard_expressions() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]


EXPRESSIONS = [
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in _alert_rules()),
    *(pytest.param(expression, id=f"{n}") for n, expression in enumerate(_dashboard_expressions())),
]


@pytest.fixture(scope="module")
def labels_by_name() -> dict[str, set[str]]:
    """Every time series that ldsync exports, with its labels, by the name that PromQL knows."""
    series: dict[str, set[str]] = {}
    for metric in Metrics().definitions:
        tails = ("_bucket", "_count", "_sum") if metric.type == "histogram" else ("",)
        series |= {metric.name + tail: set(metric.labels) for tail in tails}
    return series


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_only_for_what_is_exported(
    expression: str, labels_by_name: dict[str, set[str]]
) -> None:
    """Neither an alert nor a panel names a metric or a label that does not exist."""
    used = {name for name in METRIC.findall(expression) if name.startswith("ldsync_")}
    asked = {label.strip() for group in GROUPING.findall(expression) for label in group.split(",")}

    assert used <= labels_by_name.keys()
    for name, matchers in SELECTOR.findall(expression):
        matched = set(re.findall(r"(\w+)\s*[=!]", matchers))
        assert matched <= labels_by_name[name] | TARGET_LABELS, name
    known = {label for name in used for label in labels_by_name[name]} | TARGET_LABELS
    assert asked <= known


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_only_for_reasons_and_outcomes_that_occur(expression: str) -> None:
    """A misspelt label value would never match, and never alert."""
    known = {*RetryReason, *RecordOutcome, "committed", "fenced", "failed"}

    for values in re.findall(r'\b(?:reason|outcome)=~?"([^"]*)"', expression):
        assert set(values.split("|")) <= known


def test_every_alert_says_what_to_do_and_is_tested() -> None:
    """A severity, a summary, a description, and a case in the unit tests of the rules."""
    cases = (DEPLOY / "prometheus" / "alerts_test.yml").read_text()

    for rule in _alert_rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert {"summary", "description"} <= rule["annotations"].keys(), rule["alert"]
        assert f'ALERTS{{alertname="{rule["alert"]}"' in cases, rule["alert"]


def test_the_alerts_do_what_their_tests_say() -> None:
    """Promtool accepts the rules and the scrape configuration, and its unit tests pass."""
    promtool = _tool("promtool")

    _run(promtool, "check", "config", "prometheus.yml", cwd=ALERTS.parent)
    _run(promtool, "test", "rules", "alerts_test.yml", cwd=ALERTS.parent)


def test_the_dashboard_speaks_promql(tmp_path: Path) -> None:
    """Every expression of the dashboard parses, with Grafana's variables filled in."""
    promtool = _tool("promtool")
    rules = [
        {"record": f"panel:{n}", "expr": expression.replace("$__rate_interval", "5m")}
        for n, expression in enumerate(_dashboard_expressions())
    ]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert f"{len(rules)} rules found" in _run(promtool, "check", "rules", path)


def test_the_compose_file_is_accepted() -> None:
    """Compose, either generation, reads it."""
    if shutil.which("docker-compose"):
        _run("docker-compose", "config", "--quiet")
    else:
        _run(_tool("docker"), "compose", "config", "--quiet")


def test_the_compose_file_fits_the_program() -> None:
    """Its commands and its environment are ones that ldsync knows, and agree with each other."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    options = dict(
        option.removeprefix("--").split("=") for option in services["simulator"]["command"][1:]
    )

    settings = load(None, services["ldsync"]["environment"])

    assert settings.launchdarkly.project_key == options["project"]
    assert settings.launchdarkly.environment_key == options["environment"]
    assert settings.launchdarkly.api_token.get_secret_value() == options["token"]
    assert settings.launchdarkly.base_url.rstrip("/") == f"http://simulator:{options['port']}"
    assert f"--topic={settings.kafka.topics[0]}" in services["generator"]["command"]
    assert f"--topic={settings.kafka.topics[0]}" in services["topic-init"]["command"]
    held = settings.shutdown.drain_seconds + settings.shutdown.commit_seconds
    assert float(services["ldsync"]["stop_grace_period"].removesuffix("s")) > held


def test_the_replicas_of_the_compose_file_share_its_redis() -> None:
    """They are configured as the one process is, but for the version store."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    alone = load(None, services["ldsync"]["environment"])

    replicas = load(None, services["replicas"]["environment"])

    assert replicas.kafka == alone.kafka
    assert replicas.launchdarkly == alone.launchdarkly
    assert replicas.ordering.store == "redis"
    assert urlsplit(replicas.ordering.redis_url.get_secret_value()).hostname in services
    assert services["replicas"]["stop_grace_period"] == services["ldsync"]["stop_grace_period"]
    assert "noeviction" in services["redis"]["command"]


def test_prometheus_finds_every_service_that_runs_ldsync() -> None:
    """Those of the image that have no command of their own, whatever profile they are of."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    running = {
        name
        for name, service in services.items()
        if service["image"] == "ldsync" and "command" not in service
    }
    (scrape,) = yaml.safe_load((ALERTS.parent / "prometheus.yml").read_text())["scrape_configs"]
    (found,) = scrape["dns_sd_configs"]

    assert set(found["names"]) == running
    assert found["port"] == AdminSettings().port
    assert scrape["job_name"] == "ldsync"


def test_the_compose_files_mounts_exist() -> None:
    """A mount of a file that does not exist becomes an empty directory, silently."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = [mount for service in services.values() for mount in service.get("volumes", [])]

    assert mounts
    for mount in mounts:
        assert (ROOT / mount.partition(":")[0]).exists(), mount


def test_the_commands_of_the_compose_file_exist() -> None:
    """Every subcommand and option in the Compose file is one of the command line."""
    import typer

    from ldsync.cli import app

    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for service in ("simulator", "generator"):
        name, *options = services[service]["command"]
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {option.partition("=")[0] for option in options} <= known, service


def test_the_kubernetes_example_builds() -> None:
    """Kustomize renders it, with a grace period that is longer than the drain."""
    rendered = list(yaml.safe_load_all(_run(_tool("kubectl"), "kustomize", DEPLOY / "kubernetes")))
    (deployment,) = (thing for thing in rendered if thing["kind"] == "Deployment")

    assert {thing["kind"] for thing in rendered} == {
        "ConfigMap",
        "Deployment",
        "PodDisruptionBudget",
        "PodMonitor",
    }
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 40


def test_the_kubernetes_example_is_configured_in_terms_that_exist(tmp_path: Path) -> None:
    """Its configuration file and environment are accepted as they are."""
    token = tmp_path / "api-token"
    token.write_text("api-from-a-secret\n")

    settings = load(
        DEPLOY / "kubernetes" / "config.toml",
        {"LDSYNC_LAUNCHDARKLY__API_TOKEN_FILE": str(token)},
    )

    assert settings.launchdarkly.api_token.get_secret_value() == "api-from-a-secret"
    deployment = yaml.safe_load((DEPLOY / "kubernetes" / "deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    held = settings.shutdown.drain_seconds + settings.shutdown.commit_seconds
    assert pod["terminationGracePeriodSeconds"] > held


def test_the_image_is_made_of_what_is_copied() -> None:
    """Everything the Dockerfile copies from the context exists and is let through."""
    allowed = (ROOT / ".dockerignore").read_text()
    copied = re.findall(
        r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )

    sources = [source for line in copied for source in line.split()]
    assert {"ldsync", "pyproject.toml"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source.partition('/')[0]}\n" in allowed, source
