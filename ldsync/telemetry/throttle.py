"""Says something once in a while instead of every time: for log lines that records could cause."""

_OVERFLOW = ""


class Throttle:
    """Lets one occurrence per key and interval through, and counts those it holds back.

    Pure: time is a parameter. Memory is bounded: keys beyond `max_keys` share one allowance, so
    that even endless new keys cannot flood the log.
    """

    __slots__ = ("_interval", "_last", "_max_keys", "_suppressed")

    def __init__(self, interval_seconds: float = 60.0, max_keys: int = 1024) -> None:
        self._interval = interval_seconds
        self._max_keys = max_keys
        self._last: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def allow(self, key: str, now: float) -> int | None:
        """Say whether `key` may be mentioned at `now` (monotonic seconds).

        Returns:
            None if it was mentioned less than an interval ago; else how many occurrences were held
            back since.
        """
        last = self._last.get(key)
        if last is None:
            key = self._admit(key, now)
            last = self._last.get(key)
        if last is not None and now - last < self._interval:
            self._suppressed[key] = self._suppressed.get(key, 0) + 1
            return None
        self._last[key] = now
        return self._suppressed.pop(key, 0)

    def _admit(self, key: str, now: float) -> str:
        """Return the key under which a new one is counted: itself, if there is room."""
        if self._full():
            over = [old for old, last in self._last.items() if now - last >= self._interval]
            for old in over:
                if old != _OVERFLOW:
                    del self._last[old]
                    self._suppressed.pop(old, None)
        return _OVERFLOW if self._full() else key

    def _full(self) -> bool:
        return len(self._last) - (_OVERFLOW in self._last) >= self._max_keys
