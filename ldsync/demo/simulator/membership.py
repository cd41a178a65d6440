"""Who is in a segment, and changing that all at once or not at all."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ldsync.demo.simulator.refusal import Refusal


class Side(StrEnum):
    """The two lists of a segment."""

    INCLUDED = "included"
    EXCLUDED = "excluded"

    @property
    def other(self) -> "Side":
        """The list a key must not be in at the same time."""
        return Side.EXCLUDED if self is Side.INCLUDED else Side.INCLUDED


class Action(StrEnum):
    """What a write does with a member."""

    INCLUDE = "include"
    REMOVE = "remove"
    EXCLUDE = "exclude"
    UNEXCLUDE = "unexclude"

    @property
    def side(self) -> Side:
        """The list it changes."""
        return Side.INCLUDED if self in (Action.INCLUDE, Action.REMOVE) else Side.EXCLUDED

    @property
    def adds(self) -> bool:
        """Whether the key is in that list afterwards."""
        return self in (Action.INCLUDE, Action.EXCLUDE)


@dataclass(frozen=True, slots=True)
class Change:
    """One action on a number of context keys of one kind."""

    action: Action
    kind: str
    keys: Collection[str]


class Membership:
    """The included and excluded keys of one segment, by context kind, in order of arrival."""

    __slots__ = ("_lists",)

    def __init__(self) -> None:
        # A dict without values is a set that keeps its order, as the API's lists do.
        self._lists: dict[tuple[Side, str], dict[str, None]] = {}

    def keys(self, side: Side, kind: str) -> Collection[str]:
        """The keys of one kind in one list."""
        return self._lists.get((side, kind), {}).keys()

    def kinds(self, side: Side) -> Iterator[str]:
        """The context kinds that have keys in a list, sorted."""
        return iter(sorted(kind for (of, kind), keys in self._lists.items() if of is side and keys))

    def count(self, side: Side) -> int:
        """How many keys a list holds, over all kinds."""
        return sum(len(keys) for (of, _), keys in self._lists.items() if of is side)

    def copy(self) -> "Membership":
        """An independent copy."""
        twin = Membership()
        twin._lists = {place: keys.copy() for place, keys in self._lists.items()}
        return twin

    def put(self, side: Side, kind: str, key: str, *, present: bool) -> None:
        """Add a key to a list or take it out."""
        keys = self._lists.setdefault((side, kind), {})
        if present:
            keys[key] = None
        else:
            keys.pop(key, None)


class Draft:
    """Changes to a membership that are checked first and applied together."""

    __slots__ = ("_base", "_planned")

    def __init__(self, base: Membership) -> None:
        self._base = base
        self._planned: dict[tuple[Side, str], dict[str, bool]] = {}

    def plan(self, change: Change) -> None:
        """Add a change.

        Raises:
            Refusal: A key would be included and excluded at once (launchdarkly-api contract 4.2).
        """
        side, adds, kind = change.action.side, change.action.adds, change.kind
        current = self._base.keys(side, kind)
        planned = self._planned.setdefault((side, kind), {})
        conflicting = self._base.keys(side.other, kind)
        unconflicted = self._planned.get((side.other, kind), {})
        for key in change.keys:
            if adds and unconflicted.get(key, key in conflicting):
                raise Refusal(
                    400, f"context {kind} {key!r} cannot be both included and excluded in a segment"
                )
            if planned.get(key, key in current) != adds:
                planned[key] = adds

    @property
    def changes_anything(self) -> bool:
        """Whether applying it would leave another membership."""
        return any(
            (key in self._base.keys(*place)) != present
            for place, planned in self._planned.items()
            for key, present in planned.items()
        )

    def total(self) -> int:
        """How many targets both lists would hold together afterwards."""
        growth = sum(
            present - (key in self._base.keys(*place))
            for place, planned in self._planned.items()
            for key, present in planned.items()
        )
        return self._base.count(Side.INCLUDED) + self._base.count(Side.EXCLUDED) + growth

    def apply(self) -> None:
        """Make it so."""
        for (side, kind), planned in self._planned.items():
            for key, present in planned.items():
                self._base.put(side, kind, key, present=present)
