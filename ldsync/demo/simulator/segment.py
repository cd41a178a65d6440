"""One segment as LaunchDarkly keeps it, and the body it is returned as."""

import re
from collections.abc import Iterable
from copy import copy

import orjson

from ldsync.demo.simulator.membership import Change, Draft, Membership, Side
from ldsync.demo.simulator.refusal import Refusal

#: Targets a standard segment may hold, both lists together (launchdarkly-api contract 9).
MAX_TARGETS = 15_000

_KEY = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_TAG = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_KIND = re.compile(r"[A-Za-z0-9._-]+")


class Segment:
    """A standard segment, a larger list-based one (`unbounded`) or a synced one (`external`)."""

    __slots__ = (
        "created_ms",
        "description",
        "environment_id",
        "external",
        "generation",
        "key",
        "kind",
        "membership",
        "membership_version",
        "modified_ms",
        "name",
        "path",
        "tags",
        "unbounded",
        "version",
    )

    def __init__(self, key: str, name: str, *, path: str, environment_id: str, now_ms: int) -> None:
        self.key = valid_key(key)
        self.name = name
        self.path = path
        self.environment_id = environment_id
        self.description: str | None = None
        self.tags: list[str] = []
        self.unbounded = False
        self.kind = "user"  # of a big segment; a standard one holds several
        self.external: str | None = None
        self.version = 1
        self.generation = 1
        self.created_ms = self.modified_ms = now_ms
        self.membership = Membership()
        self.membership_version = 1  # of a big segment, which is not versioned by its keys

    def included(self, kind: str = "user") -> set[str]:
        """The included keys of one context kind."""
        return set(self.membership.keys(Side.INCLUDED, kind))

    def excluded(self, kind: str = "user") -> set[str]:
        """The excluded keys of one context kind."""
        return set(self.membership.keys(Side.EXCLUDED, kind))

    def preview(self) -> "Segment":
        """An independent copy, to see what a patch would do."""
        twin = copy(self)
        twin.membership = self.membership.copy()
        twin.tags = list(self.tags)
        return twin

    def draft(self, changes: Iterable[Change]) -> Draft:
        """Check membership changes without applying them.

        Raises:
            Refusal: A key in both lists, or more targets than a standard segment holds.
        """
        draft = Draft(self.membership)
        grows = False
        for change in changes:
            draft.plan(change)
            grows = grows or change.action.adds
        if grows and not self.unbounded and draft.total() > MAX_TARGETS:
            raise Refusal(400, f"a segment may have at most {MAX_TARGETS} individual targets")
        return draft

    def touch(self, now_ms: int) -> None:
        """Count a change of the segment itself."""
        self.version += 1
        self.modified_ms = now_ms

    def write_members(self, changes: Iterable[Change], now_ms: int) -> None:
        """Change the membership of a big segment: its own version stays, that of its keys grows.

        Raises:
            Refusal: A key in both lists; nothing is applied.
        """
        draft = self.draft(changes)
        if draft.changes_anything:
            draft.apply()
            self.membership_version += 1
            self.modified_ms = now_ms

    def document(self) -> dict[str, object]:
        """The body `UserSegment` (launchdarkly-api contract 3.1), with every target."""
        document: dict[str, object] = {
            "key": self.key,
            "name": self.name,
            "tags": self.tags,
            "version": self.version,
            "generation": self.generation,
            "creationDate": self.created_ms,
            "lastModifiedDate": self.modified_ms,
            "deleted": False,
            "rules": [],
            "unbounded": self.unbounded,
            "_links": {"self": {"href": self.path, "type": "application/json"}},
        }
        if self.description is not None:
            document["description"] = self.description
        return document | (self._big_part() if self.unbounded else self._targets())

    def body(self) -> bytes:
        """The same as JSON."""
        return orjson.dumps(self.document())

    def _targets(self) -> dict[str, object]:
        lists: dict[str, object] = {}
        for side in Side:
            lists[side.value] = list(self.membership.keys(side, "user"))
            lists[f"{side.value}Contexts"] = [
                {"contextKind": kind, "values": list(self.membership.keys(side, kind))}
                for kind in self.membership.kinds(side)
                if kind != "user"
            ]
        return lists

    def _big_part(self) -> dict[str, object]:
        part: dict[str, object] = {
            "included": [],
            "unboundedContextKind": self.kind,
            "_unboundedMetadata": {
                "envId": self.environment_id,
                "segmentId": f"{self.key}-{self.generation}",
                "version": self.membership_version,
                "includedCount": self.membership.count(Side.INCLUDED),
                "excludedCount": self.membership.count(Side.EXCLUDED),
                "lastModified": self.modified_ms,
            },
            "_importInProgress": False,
        }
        if self.external is not None:
            part["_external"] = self.external
        return part


def valid_key(key: object) -> str:
    """A segment key as the API takes it (launchdarkly-api contract 3).

    Raises:
        Refusal: It is not one.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise Refusal(400, f"segment key {key!r} is invalid: use letters, digits, '.', '_' and '-'")
    return key


def valid_name(name: object) -> str:
    """A segment name: any text that is not empty.

    Raises:
        Refusal: It is not one.
    """
    if not isinstance(name, str) or not name:
        raise Refusal(400, "segment name must be a string that is not empty")
    return name


def valid_tags(tags: object) -> list[str]:
    """A list of tags: 1 to 64 characters each.

    Raises:
        Refusal: It is not one.
    """
    if not isinstance(tags, list):
        raise Refusal(400, "tags must be an array of strings")
    for tag in tags:
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            raise Refusal(400, f"tag {tag!r} is invalid")
    return list(dict.fromkeys(tags))


def valid_kind(kind: object) -> str:
    """A context kind (launchdarkly-api contract 3).

    Raises:
        Refusal: It is not one.
    """
    if not isinstance(kind, str) or not _KIND.fullmatch(kind) or kind in ("kind", "multi"):
        raise Refusal(400, f"context kind {kind!r} is invalid")
    return kind


def valid_keys(keys: object) -> list[str]:
    """Context keys of an instruction: at least one, each a string that is not empty.

    Raises:
        Refusal: They are not.
    """
    if not isinstance(keys, list) or not keys:
        raise Refusal(400, "values must be an array with at least one context key")
    for key in keys:
        if not isinstance(key, str) or not key:
            raise Refusal(400, f"context key {key!r} is invalid: it must be a non-empty string")
    return keys
