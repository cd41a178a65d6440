"""The tables of the configuration: every key with its type, range, default and one line of prose.

`config.example.toml` and the table in `README.md` are rendered from here, so the prose is written
for operators. Values are frozen. Types are strict (a number is not text): what comes from the
environment has been converted before (`sources`). Durations are seconds, sizes are bytes.
Everything has a default; what nevertheless must be given is for `rules` to say.
"""

from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from ldsync.config import values

_MOST = 2**31 - 1  # Kafka's protocol has 32 bits for sizes and milliseconds

Seconds = Annotated[float, Field(gt=0, le=1_000_000_000)]
Count = Annotated[int, Field(ge=1, le=_MOST)]
Bytes = Annotated[int, Field(ge=1, le=2**50)]
KafkaSeconds = Annotated[float, Field(gt=0, le=_MOST // 1000)]
KafkaBytes = Annotated[int, Field(ge=1, le=_MOST)]
Text = Annotated[str, AfterValidator(values.not_blank)]
Key = Annotated[str, AfterValidator(values.launchdarkly_key)]
ClientSideId = Annotated[str, AfterValidator(values.client_side_id)]
# A TOML array is a list; what the rest of the program gets is a tuple.
Names = Annotated[tuple[str, ...], Field(strict=False)]

UNSET = SecretStr("")
"""A secret that was not given."""


class Section(BaseModel):
    """What all tables have in common."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class KafkaSettings(Section):
    """Where the events come from."""

    bootstrap_servers: Annotated[str, AfterValidator(values.bootstrap_servers)] = Field(
        default="localhost:9092",
        description="Brokers to begin with: host:port, several with commas between.",
    )
    topics: Annotated[Names, AfterValidator(values.topics)] = Field(
        default=("engage-events",),
        description="Topics to read; in the environment, commas between them.",
    )
    topic_pattern: Annotated[str, AfterValidator(values.topic_pattern)] = Field(
        default="", description="Instead of topics: a regular expression for their whole names."
    )
    group_id: Text = Field(
        default="ldsync",
        description="Consumer group; every deployment (one environment) needs its own.",
    )
    group_instance_id: Annotated[str, AfterValidator(values.group_instance_id)] = Field(
        default="",
        description="Static membership: an id that this replica alone has, and keeps; empty: off.",
    )
    client_id: Text = Field(
        default="ldsync", description="Name shown in the brokers' logs and quotas."
    )
    first_start: Literal["earliest", "latest"] = Field(
        default="earliest",
        description="Where a group without committed offsets begins: earliest or latest.",
    )
    on_out_of_range: Literal["stop", "earliest"] = Field(
        default="stop",
        description="When retention took unread records: stop, or go on at earliest.",
    )
    session_timeout_seconds: KafkaSeconds = Field(
        default=30.0, description="A replica not heard of for so long loses its partitions."
    )
    heartbeat_interval_seconds: KafkaSeconds = Field(
        default=3.0, description="At most a third of session_timeout_seconds."
    )
    rebalance_timeout_seconds: KafkaSeconds = Field(
        default=45.0,
        description="How long a rebalance waits for a replica to hand over; more than [shutdown].",
    )
    request_timeout_seconds: KafkaSeconds = Field(
        default=60.0,
        description="For any request to a broker; more than rebalance_timeout_seconds.",
    )
    max_poll_records: Count = Field(
        default=5000, description="Records taken from the client at a time."
    )
    fetch_max_bytes: KafkaBytes = Field(
        default=16_777_216,
        description="Largest answer of one broker to a fetch; so much is unpacked at a time.",
    )
    max_partition_fetch_bytes: KafkaBytes = Field(
        default=1_048_576, description="Of these, at most so much of one partition."
    )
    max_record_bytes: Bytes = Field(
        default=2_097_152,
        description="Records with a larger value are invalid (too_large), without being parsed.",
    )
    commit_interval_seconds: Seconds = Field(
        default=5.0, description="How often the offsets of settled records are committed."
    )
    stall_timeout_seconds: Seconds = Field(
        default=300.0,
        description="Exit with 1 if nothing is consumed for so long though there is lag.",
    )
    start_timeout_seconds: Seconds = Field(
        default=60.0,
        description="Exit with 69 if brokers and topics are not reached within this time.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        default="PLAIN", description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."
    )
    sasl_username: str = Field(default="", description="For PLAIN and SCRAM.")
    sasl_password: SecretStr = Field(default=UNSET, description="For PLAIN and SCRAM.")
    sasl_oauth_token_provider: Annotated[str, AfterValidator(values.oauth_token_provider)] = Field(
        default="", description='For OAUTHBEARER: "package.module:function" that returns a token.'
    )
    ssl_cafile: str = Field(
        default="", description="PEM file of authorities; empty for the system's."
    )
    ssl_certfile: str = Field(default="", description="PEM file of the client certificate.")
    ssl_keyfile: str = Field(default="", description="PEM file of its key, if not in ssl_certfile.")
    ssl_key_password: SecretStr = Field(default=UNSET, description="Password of that key.")
    ssl_check_hostname: bool = Field(
        default=True, description="Whether a broker's certificate must name its host."
    )

    @model_validator(mode="before")
    @classmethod
    def _pattern_replaces_default_topics(cls, data: Any) -> Any:
        """Who asks for a pattern need not also clear the default of `topics`."""
        if isinstance(data, dict) and data.get("topic_pattern") and "topics" not in data:
            return {**data, "topics": ()}
        return data


class LaunchDarklySettings(Section):
    """Where the segments are."""

    api_token: Annotated[SecretStr, AfterValidator(values.api_token)] = Field(
        default=UNSET, description="Required. API access token (api-…) that may write segments."
    )
    client_side_id: ClientSideId = Field(
        default="",
        description="Client-side ID of the environment. Required, or else both of the keys below.",
    )
    project_key: Key = Field(
        default="", description="Key of the project; with environment_key, or not at all."
    )
    environment_key: Key = Field(default="", description="Key of the environment in it.")
    instance: Literal["us", "eu", "federal"] = Field(
        default="us", description="Where the account is: us, eu or federal."
    )
    base_url: Annotated[str, AfterValidator(values.base_url)] = Field(
        default=values.INSTANCES["us"],
        description="Address of the API, if it is not that of the instance.",
    )
    proxy: Annotated[SecretStr, AfterValidator(values.proxy)] = Field(
        default=UNSET,
        description="HTTP proxy, http://user:password@host:port; none for none. "
        "Not given: HTTPS_PROXY, NO_PROXY.",
    )
    ca_file: str = Field(default="", description="PEM file of authorities; empty for the system's.")
    write_path: Literal["standard", "big", "synced"] = Field(
        default="standard",
        description="Sort of segments: standard, big or synced; see docs/launchdarkly.md.",
    )
    exit_action: Literal["remove", "exclude"] = Field(
        default="remove",
        description="remove: who leaves is no longer included; exclude: and is excluded.",
    )
    timeout_seconds: Seconds = Field(
        default=10.0, description="For one request, from connecting to the end."
    )
    adopt: Literal["tagged", "any", "never"] = Field(
        default="tagged",
        description="Which segments found there to write to: tagged (with our first tag), any, or "
        "never: only our own.",
    )
    tags: Annotated[Names, AfterValidator(values.tags)] = Field(
        default=("ldsync",),
        description="Tags of created segments; in the environment, commas between them.",
    )
    view_keys: Annotated[Names, AfterValidator(values.view_keys)] = Field(
        default=(),
        description="Views of created segments, where the project demands one; commas between.",
    )
    create_segments: bool = Field(
        default=True, description="Whether to create missing segments; else their changes wait."
    )
    recreate_deleted: bool = Field(
        default=True,
        description="Whether to create a segment again that is deleted while ldsync runs.",
    )
    max_members_per_request: int = Field(
        default=1000,
        ge=1,
        le=1500,
        description="Members in one request for big and synced segments; no limit is documented.",
    )
    writes_per_segment: Count = Field(
        default=4,
        description="Requests at the same time for one big or synced segment, at most half of all.",
    )
    max_in_flight: Count = Field(default=8, description="Requests at the same time, in all.")
    budget_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Part of each announced rate limit that ldsync may use.",
    )
    dry_run: bool = Field(
        default=False,
        description="Do everything but write: requests are logged, no offsets are committed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _instance_names_the_address(cls, data: Any) -> Any:
        """Who names an instance need not also give its address."""
        if isinstance(data, dict) and "base_url" not in data:
            address = values.INSTANCES.get(str(data.get("instance")))
            return {**data, "base_url": address} if address else data
        return data


class BatchSettings(Section):
    """When the changes of a segment are written: at the first of these limits."""

    max_size: int = Field(
        default=1500,
        ge=1,
        le=1500,
        description="Members, of which a request takes 1500, or max_members_per_request.",
    )
    max_bytes: Bytes = Field(default=1_048_576, description="Size of the request.")
    max_age_seconds: Seconds = Field(
        default=2.0, description="Time since the first change of the batch."
    )


class BufferSettings(Section):
    """How much may be held, requests in flight included, before consumption pauses."""

    max_changes: Count = Field(
        default=200_000, description="Changes held; at least batch.max_size."
    )
    max_bytes: Bytes = Field(
        default=67_108_864, description="Bytes held; at least batch.max_bytes."
    )
    resume_ratio: float = Field(
        default=0.8, gt=0, lt=1, description="Consumption goes on below this part of both."
    )


class RetrySettings(Section):
    """How long a segment waits after a failed attempt: random, up to a bound that doubles."""

    initial_seconds: Seconds = Field(default=0.5, description="The first bound.")
    max_seconds: Seconds = Field(default=30.0, description="The largest bound.")
    operator_initial_seconds: Seconds = Field(
        default=30.0,
        description="The first wait where a person has to act; random from half of it.",
    )
    operator_max_seconds: Seconds = Field(default=3600.0, description="The longest; it doubles.")


class NamingSettings(Section):
    """What segments are called."""

    segment_key: Annotated[str, AfterValidator(values.segment_key_template)] = Field(
        default="{audience_key}", description="Template over {audience_key} and {audience_id}."
    )
    on_collision: Literal["share", "refuse"] = Field(
        default="share",
        description="Two audiences with one segment key: share the segment, or refuse the second.",
    )


class DeadLettersSettings(Section):
    """Where records go that cannot be applied; see docs/dead-letters.md."""

    enabled: bool = Field(
        default=True, description="false: invalid records are only counted and logged."
    )
    topic: Annotated[str, AfterValidator(values.topic)] = Field(
        default="",
        description="Topic for all; empty: one for each topic read, <topic>.dead-letters.",
    )
    create_topic: bool = Field(
        default=True, description="Whether ldsync may make the topic if it is missing."
    )
    partitions: int = Field(
        default=0,
        ge=0,
        le=_MOST,
        description="Of a topic that it makes; 0 for the brokers' default.",
    )
    replication_factor: int = Field(default=0, ge=0, le=32767, description="The same.")
    timeout_seconds: Seconds = Field(
        default=30.0, description="For one attempt to write; then again, with a new connection."
    )
    max_letter_bytes: Bytes = Field(
        default=1_000_000,
        description="A larger record is replaced by a pointer to it and its hash.",
    )
    max_pending_bytes: Bytes = Field(
        default=16_777_216, description="Consumption pauses while so much waits to be written."
    )
    park_after_seconds: Seconds = Field(
        default=21_600.0,
        description="Changes of a segment that alone cannot be written are moved there after that.",
    )
    replay_on_recovery: bool = Field(
        default=True,
        description="Whether such changes are applied again as soon as the segment can be written.",
    )
    recall_max_letters: int = Field(
        default=500_000,
        ge=0,
        le=_MOST,
        description="Letters read at an assignment, to find what is parked; 0: none are.",
    )
    max_invalid_ratio: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Stop when more of a topic is invalid: it is the wrong one. 1: never stop.",
    )
    min_records: Count = Field(
        default=1000, description="Records of a topic to be seen before it is judged."
    )


class OrderingSettings(Section):
    """How the newest change of a member wins, whatever the order of arrival."""

    store: Literal["memory", "redis"] = Field(
        default="memory",
        description="memory: newest versions in this process; redis: shared by all replicas.",
    )
    max_entries: Count = Field(
        default=500_000, description="Of memory: versions remembered; the oldest are forgotten."
    )
    redis_url: Annotated[SecretStr, AfterValidator(values.redis_url)] = Field(
        default=UNSET,
        description="Of redis: redis:// or rediss:// (TLS) with user, password, host and port.",
    )
    redis_timeout_seconds: Seconds = Field(
        default=2.0, description="Of redis: for one request; without an answer writes wait."
    )
    retention_seconds: Seconds = Field(
        default=86_400.0,
        description="Of redis: how long a version is remembered at least; at most twice as long.",
    )
    horizon_seconds: Seconds = Field(
        default=14_400.0,
        description="How late events may be; so far back the topic is read again after a start.",
    )
    warm_up: bool = Field(
        default=True,
        description="Whether it is; if not, an event older than the start may win.",
    )
    warm_up_max_records: Count = Field(
        default=1_000_000, description="Records read then at most, the newest of all partitions."
    )
    settle_seconds: Seconds = Field(
        default=15.0,
        description="A request may act so late after it was sent; more than the request timeout.",
    )

    def redis_secrets(self) -> list[str]:
        """What of `redis_url` must not be seen: all of it, and its password in either form."""
        url = self.redis_url.get_secret_value()
        password = urlsplit(url).password or ""
        return [each for each in (url, password, unquote(password)) if each]


class ShutdownSettings(Section):
    """How long SIGTERM and a rebalance may take."""

    drain_seconds: Seconds = Field(
        default=25.0, description="To write what is buffered and in flight."
    )
    commit_seconds: Seconds = Field(default=5.0, description="To commit afterwards.")


class AdminSettings(Section):
    """Where /metrics, /healthz, /readyz and /status are served."""

    host: Text = Field(
        default="127.0.0.1", description="Address; 0.0.0.0 for all, as in the image."
    )
    port: int = Field(
        default=9108, ge=0, le=65535, description="Port; 0 for any free one (only for tests)."
    )


class LogSettings(Section):
    """What is written to standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="json, console, or auto: console in a terminal, else json."
    )
