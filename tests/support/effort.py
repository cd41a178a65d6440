"""How many examples Hypothesis tries: few in `make test`, very many in `make nightly`."""

from typing import Any

from hypothesis import settings


def effort(ordinarily: int, **others: Any) -> settings:
    """Settings for a test that tries so many examples, or more where the profile wants more.

    `@settings(max_examples=...)` alone would have the same number in every profile.
    """
    return settings(max_examples=max(ordinarily, settings().max_examples), **others)
