"""Why Kafka cannot be read. Every message speaks to the operator and carries no secret (P8)."""


class SourceError(Exception):
    """Kafka cannot be read; the message says what happened and what can be done."""


class SourceUnavailable(SourceError):
    """Brokers or topics were not there within `kafka.start_timeout_seconds` (exit code 69)."""


class SourceMisconfigured(SourceError):
    """The configuration cannot work: credentials, certificates, addresses (exit code 78)."""


class RecordMissing(SourceError):
    """The record that was asked for cannot be read (any more, or yet); only of `ldsync explain`."""


class SourceFailed(SourceError):
    """Reading cannot go on without a person or a fresh start (exit code 1)."""


class SourceRefused(SourceFailed):
    """Reading cannot go on before a person corrects something: no restart helps (exit code 78)."""
