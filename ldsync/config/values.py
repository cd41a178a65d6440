"""What a single value must look like, beyond its type and range.

Each function takes a value of the right type and returns it, or raises `ValueError` with a sentence
that says what is wanted. None of them repeats a secret. Rules between several keys are in `rules`.
"""

import re
import string
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

TEMPLATE_FIELDS = ("audience_key", "audience_id")
"""What `naming.segment_key` may be made of."""
NAME_FIELDS = ("audience_name", *TEMPLATE_FIELDS)
"""What the name of a segment may be made of."""

INSTANCES = {
    "us": "https://app.launchdarkly.com",
    "eu": "https://app.eu.launchdarkly.com",
    "federal": "https://app.launchdarkly.us",
}
"""Addresses of LaunchDarkly's instances (launchdarkly-api contract 1.1)."""

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_LAUNCHDARKLY_KEY = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
_CLIENT_SIDE_ID = re.compile(r"[0-9a-fA-F]{24}")
_TAG = re.compile(r"[a-zA-Z0-9._-]{1,64}")
_PROVIDER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_SERVER = re.compile(r"(?P<host>[^\s:/,\[\]]+|\[[0-9a-fA-F:.%]+\])(:(?P<port>\d{1,5}))?")
_PRINTABLE = re.compile(r"[!-~]+")
_DATABASE = re.compile(r"/?|/\d+")
_TLS_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_HIGHEST_PORT = 65535


def not_blank(value: str) -> str:
    """Text that says something."""
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def bootstrap_servers(value: str) -> str:
    """Kafka's own form: `host:port` or several of them with commas between."""
    for number, server in enumerate(value.split(","), start=1):
        match = _SERVER.fullmatch(server.strip())
        if match is None or int(match["port"] or 0) > _HIGHEST_PORT:
            raise ValueError(
                f"must be host:port, or several with commas between, without a scheme; "
                f"entry {number} is not"
            )
    return value


def topics(value: tuple[str, ...]) -> tuple[str, ...]:
    """Names that Kafka allows for a topic, each once."""
    for topic in value:
        if not _TOPIC.fullmatch(topic) or topic in {".", ".."}:
            raise ValueError(
                f"{topic!r} cannot be the name of a topic: 1 to 249 of the characters "
                "a-z A-Z 0-9 . _ - (use kafka.topic_pattern for a regular expression)"
            )
    twice = sorted({topic for topic in value if value.count(topic) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} more than once")
    return value


def topic(value: str) -> str:
    """The name of one topic, or nothing."""
    return topics((value,))[0] if value else value


def group_instance_id(value: str) -> str:
    """The id of a static member as Kafka takes it (the rules of a topic's name), or nothing."""
    if value and (not _TOPIC.fullmatch(value) or value in {".", ".."}):
        raise ValueError(
            "must be 1 to 249 of the characters a-z A-Z 0-9 . _ - and neither . nor .., or empty"
        )
    return value


def topic_pattern(value: str) -> str:
    """A regular expression that Python can compile, or nothing."""
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return value


def oauth_token_provider(value: str) -> str:
    """The import path of a function, or nothing."""
    if value and not _PROVIDER.fullmatch(value):
        raise ValueError('must name a function as "package.module:function"')
    return value


def api_token(value: SecretStr) -> SecretStr:
    """Something that can travel in a header, and is not one of the SDK keys it is confused with.

    Source of the prefixes: launchdarkly-api contract, environments (`apiKey`, `mobileKey`).
    """
    api_token_text(value.get_secret_value())
    return value


def api_token_text(text: str) -> str:
    """The same for the plain text; empty is allowed."""
    if text and not _PRINTABLE.fullmatch(text):
        raise ValueError("must be a single word of plain characters, without blanks or line breaks")
    if text.startswith(("sdk-", "mob-")):
        raise ValueError("is an SDK key; ldsync needs an API access token, which begins with api-")
    return text


def proxy(value: SecretStr) -> SecretStr:
    """The address of an HTTP proxy, `none`, or nothing. It may carry a password: never repeated."""
    text = value.get_secret_value()
    if text in {"", "none"}:
        return value
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not _PRINTABLE.fullmatch(text) or parts.path.strip("/") or parts.query:
        raise ValueError('must be an http:// or https:// address without a path, or "none"')
    return value


def base_url(value: str) -> str:
    """The root of a LaunchDarkly instance. The value is not repeated: it may carry a password."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not _PRINTABLE.fullmatch(value):
        raise ValueError("must be an http:// or https:// address")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must not carry a user name, a password, a query or a fragment")
    return value.rstrip("/")


def redis_url(value: SecretStr) -> SecretStr:
    """The address of a Redis, or nothing. It is not repeated: it may carry a password."""
    text = value.get_secret_value()
    if not text:
        return value
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"redis", "rediss"} and bool(parts.hostname)
        usable = usable and (parts.port is None or parts.port > 0)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        usable, options = False, {}
    if not usable or parts.fragment or not _DATABASE.fullmatch(parts.path):
        raise ValueError(
            "must be redis://user:password@host:port/database, or rediss:// for TLS; all but the "
            "host may be left out, and special characters of a password are written as %xx"
        )
    allowed = _TLS_FILES if parts.scheme == "rediss" else set()
    if not options.keys() <= allowed:
        raise ValueError(
            "may have no other options than ssl_ca_certs, ssl_certfile and ssl_keyfile, paths of "
            "PEM files, and these only with rediss://"
        )
    return value


def launchdarkly_key(value: str) -> str:
    """A key as LaunchDarkly allows it for projects and environments, or nothing."""
    if value and not _LAUNCHDARKLY_KEY.fullmatch(value):
        raise ValueError(
            f"{value!r} cannot be a LaunchDarkly key: letters, digits and . _ - "
            "(the key, not the name that the user interface shows)"
        )
    return value


def client_side_id(value: str) -> str:
    """The id that LaunchDarkly gives an environment, or nothing. The value is not repeated."""
    if value.startswith(("sdk-", "mob-", "api-")):
        raise ValueError("is a secret key; the client-side ID has no prefix and is no secret")
    if value and not _CLIENT_SIDE_ID.fullmatch(value):
        raise ValueError("must be 24 hexadecimal digits, as LaunchDarkly shows it")
    return value.lower()


def view_keys(value: tuple[str, ...]) -> tuple[str, ...]:
    """Keys as LaunchDarkly allows them."""
    for key in value:
        if not key:
            raise ValueError("must not contain an empty key")
        launchdarkly_key(key)
    return value


def tags(value: tuple[str, ...]) -> tuple[str, ...]:
    """Tags as LaunchDarkly allows them (launchdarkly-api contract: 1 to 64 characters)."""
    for tag in value:
        if not _TAG.fullmatch(tag):
            raise ValueError(f"{tag!r} cannot be a tag: 1 to 64 of a-z A-Z 0-9 . _ -")
    return value


def segment_key_template(value: str) -> str:
    """A template over the audience's key and id that differs between audiences.

    What stands around them may be what LaunchDarkly allows in keys: anything else would have to be
    replaced in the key of every segment, each of which would get a digest for it.
    """
    if not _fields_of(value, TEMPLATE_FIELDS):
        raise ValueError(
            "must contain {audience_key} or {audience_id}: all audiences would go to one segment"
        )
    around = value.format(**dict.fromkeys(TEMPLATE_FIELDS, "a"))
    if not _LAUNCHDARKLY_KEY.fullmatch(around):
        raise ValueError(
            "may have letters, digits and . _ - around its fields, and a letter or digit first: "
            "LaunchDarkly allows no other keys"
        )
    return value


def optional_segment_key_template(value: str) -> str:
    """The same, or nothing."""
    return segment_key_template(value) if value else value


def segment_name_template(value: str) -> str:
    """A template over the audience's name, key and id."""
    _fields_of(value, NAME_FIELDS)
    return not_blank(value)


def _fields_of(template: str, known: tuple[str, ...]) -> list[str]:
    """The names in a template, all of which are known."""
    *some, last = (f"{{{name}}}" for name in known)
    allowed = f"{', '.join(some)} and {last}"
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"is not a template over {allowed}: {error}") from None
    fields = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    for name, spec, conversion in fields:
        if name not in known or spec or conversion:
            written = f"{name}{'!' + conversion if conversion else ''}{':' + spec if spec else ''}"
            raise ValueError(f"knows only {allowed}, not {{{written}}}")
    return [name for name, _, _ in fields]
