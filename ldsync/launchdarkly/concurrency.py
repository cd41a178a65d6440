"""How many requests may be on their way at once: more while it goes well, half when it does not.

Additive increase, multiplicative decrease, as TCP shares a line that nobody describes. Pure.
"""

from typing import Final

#: As few requests as there are at once after trouble that may be that of one of them: if that one
#: hangs again, another one still has a place (P5).
_LEAST_IN_DOUBT: Final = 2.0

#: Several requests in flight report one overload: it counts once within so many seconds.
_ONE_OVERLOAD: Final = 1.0


class Concurrency:
    """A limit between 1 and `most`, which it begins with.

    Attributes:
        in_flight: Requests on their way.
    """

    __slots__ = ("_accepted_at", "_halved_at", "_level", "_most", "in_flight")

    def __init__(self, most: int) -> None:
        self.in_flight = 0
        self._most = most
        self._level = float(most)
        self._accepted_at = 0.0
        self._halved_at = -_ONE_OVERLOAD

    @property
    def limit(self) -> int:
        """How many requests may be on their way."""
        return int(self._level)

    def succeeded(self, now: float) -> None:
        """A request was answered as it should be: one more for every round of them."""
        self._accepted_at = now
        self._level = min(float(self._most), self._level + 1.0 / self._level)

    def overloaded(self, now: float, began: float | None = None) -> None:
        """A request was refused for being too many, or had no answer for other reasons.

        Args:
            now: Monotonic seconds.
            began: When the request began, unless it was surely refused for being too many. If
                another one was accepted since, the trouble is its own and the others go on (P5).
        """
        if began is not None and self._accepted_at >= began:
            return
        least = 1.0 if began is None else min(_LEAST_IN_DOUBT, self._level)
        if now - self._halved_at >= _ONE_OVERLOAD:
            self._halved_at = now
            self._level = max(least, self._level / 2.0)
