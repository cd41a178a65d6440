"""The access token, and the file that it may come from: a new one is taken up without a restart.

The file is looked at every few seconds, and when LaunchDarkly says that the token is not valid;
reading it never blocks the event loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: How often the file is looked at, in seconds.
CHECK_SECONDS: Final = 5.0

_Stamp = tuple[int, int, int]


class Token:
    """The token in force.

    Args:
        value: The token as it was at the start; never logged.
        file: Where it was read, if it was.
        parse: What the file holds as a token.
        on_change: Called with each new token before it is used.

    Attributes:
        value: The token to use.
        known: All tokens so far: whoever repeats one of them must not be repeated.
    """

    def __init__(
        self,
        value: str,
        file: Path | None = None,
        parse: Callable[[Path], str] = lambda file: file.read_text(encoding="utf-8").strip(),
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.value = value
        self.known: tuple[str, ...] = (value,)
        self._file = file
        self._parse = parse
        self._on_change = on_change
        self._stamp: _Stamp | None = None
        self._reading = asyncio.Lock()

    def __repr__(self) -> str:
        """Without the token."""
        return f"<Token from {self._file or 'the configuration'}>"

    async def differs_from(self, refused: str) -> bool:
        """Whether there is another token than this one, which LaunchDarkly refused."""
        if self.value == refused:
            await self.refresh()
        return self.value != refused

    async def refresh(self) -> None:
        """Read the file again if it changed. What cannot be used is logged, and the old one kept.

        Nobody else is asked meanwhile; a file that hangs makes the caller wait, not the loop.
        """
        if self._file is None:
            return
        async with self._reading:
            stamp = await asyncio.to_thread(_stamp, self._file)
            if stamp is None or stamp == self._stamp:  # gone for a moment: it is being replaced
                return
            try:
                value = await asyncio.to_thread(self._parse, self._file)
            except (OSError, ValueError) as error:
                self._refuse(error)
            else:
                self._take(value)
            self._stamp = stamp

    async def watch(self) -> None:
        """Look at the file for ever; without a file there is nothing to do."""
        while self._file is not None:
            await self.refresh()
            await asyncio.sleep(CHECK_SECONDS)

    def _take(self, value: str) -> None:
        if value == self.value:
            return
        self._on_change(value)
        self.known += (value,)
        self.value = value
        structlog.get_logger().info("launchdarkly.token_renewed", file=str(self._file))

    def _refuse(self, error: Exception) -> None:
        # The words of our own check; those of a library could repeat what they choke on.
        what = error.strerror if isinstance(error, OSError) else "it holds no usable token"
        structlog.get_logger().error(
            "launchdarkly.token_unusable",
            file=str(self._file),
            detail=f"the token in the file changed, but {what}; the old token stays in use",
            advice="write an API access token (api-…) into the file, alone and in one line",
        )


def _stamp(file: Path) -> _Stamp | None:
    """What changes when a file is written or replaced; None if it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
