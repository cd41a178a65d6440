"""Which topics a pattern subscribes to."""

import re

from ldsync.kafka.errors import SourceMisconfigured

DEAD_LETTERS = ".dead-letters"
"""Appended to the name of a topic, for its dead letters."""

_LEADING_FLAGS = re.compile(r"\(\?([aimsux]+)\)")


def whole_names(pattern: str) -> re.Pattern[str]:
    """`kafka.topic_pattern` as it is meant: it matches whole names, and never dead-letter topics.

    Names that end with `.dead-letters` or `.ldsync-dead-letters` are left out whatever the pattern
    says: records that ldsync wrote there itself would otherwise come in again as new events.

    Args:
        pattern: A regular expression; flags may stand at its beginning, as in `(?i)events-.*`.

    Raises:
        SourceMisconfigured: it cannot be compiled.
    """
    flags = _LEADING_FLAGS.match(pattern)
    scoped = f"(?{flags[1]}:{pattern[flags.end() :]})" if flags else f"(?:{pattern})"
    try:
        re.compile(pattern)  # brackets that close ours must not undo the exclusion
        return re.compile(rf"(?!.*[.](?:ldsync-)?dead-letters\Z){scoped}\Z")
    except re.error as error:
        raise SourceMisconfigured(
            f"kafka.topic_pattern: {pattern!r} is not a regular expression: {error}"
        ) from None
