"""Reading events as Segment's own destination does, defects included (engage-events contract 2).

What it would refuse for one reason is refused here too, and what it would send is sent; except for
what LaunchDarkly cannot be told at all: a member without a key, an impossible context kind, half a
surrogate pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldsync.engage import events, verdict
from ldsync.engage.javascript import INHERITED, NO_TEXT, text_of, truthy
from ldsync.engage.naming import is_context_kind
from ldsync.engage.paths import Path
from ldsync.engage.reading import Audience, KeyCandidate, first_key
from ldsync.engage.trigger import Field
from ldsync.engage.trigger.values import reader as field_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ldsync.engage.events import Document
    from ldsync.engage.mapping import EmailNormalization, Fields, Priority
    from ldsync.engage.reading import TextReader
    from ldsync.engage.verdict import Verdict

    Get = Callable[[Document], Any]


class ReferenceReader:
    """Reads events whose fields stand where `fields` says.

    `batched` says whether the mapping batches: then the destination keeps empty text, which it
    drops where it sends each event by itself.
    """

    def __init__(self, fields: Fields, *, batched: bool) -> None:
        """Prepare to read these fields."""
        self._keep_empty = batched
        above = Path(fields.computation_class.steps[:-1])
        self._holder: Get = _walk(above) if above.steps else _itself
        self._class = self._text(fields.computation_class)
        self._id = self._text(fields.audience_id)
        self._key = self._text(fields.audience_key)
        self._identifiers: dict[str, tuple[str, Get]] = {
            "user_id": (str(fields.user_id), _walk(fields.user_id)),
            "email": (
                (str(fields.email), _walk(fields.email))
                if fields.email
                else ("traits.email or context.traits.email", _usual_email)
            ),
            "anonymousId": (str(fields.anonymous_id), _walk(fields.anonymous_id)),
        }
        self._identifier_texts = [self._text_at(at) for _, at in self._identifiers.values()]
        place = fields.traits_or_properties
        self._place = str(place) if place else ""
        self._flags: Get = _walk(place) if place else _usual_flags

    def audience(self, document: Document, value: bytes) -> Audience | Verdict:
        """Return the audience, or why the destination would refuse the event (Reader).

        An identifier that cannot be text makes it refuse the event even if it is not wanted.
        """
        del value
        computation_class = self._class(document)
        if computation_class not in events.AUDIENCE_CLASSES:
            is_engage = isinstance(self._holder(document), dict)
            return verdict.CLASS_NOT_AUDIENCE if is_engage else verdict.NOT_ENGAGE
        audience_id, audience_key = self._id(document), self._key(document)
        if not _is_sendable(audience_id):
            return verdict.BAD_AUDIENCE_ID
        if not _is_sendable(audience_key):
            return verdict.BAD_AUDIENCE_KEY
        if not isinstance(self._flags(document), dict):
            return verdict.MEMBERSHIP_MISSING
        if any(read(document) is NO_TEXT for read in self._identifier_texts):
            return verdict.BAD_IDENTIFIER
        return Audience(audience_id, audience_key, computation_class)

    def membership(self, document: Document, audience: Audience) -> bool | Verdict:
        """Return whether the flag counts as true in JavaScript; one that is missing does not."""
        flags = self._flags(document)
        if audience.key in flags:
            return truthy(flags[audience.key])
        return audience.key in INHERITED

    def flag_objects(self, document: Document) -> Sequence[tuple[str, object]]:
        """Return the one object in which the flag is looked for, and where it stands (Reader)."""
        usual = "traits" if document.get("properties") is None else "properties"
        return ((self._place or usual, self._flags(document)),)

    def key_reader(self, wanted: Priority | Path, normalization: EmailNormalization) -> TextReader:
        """Return what reads the context key: the first candidate that is not empty (Reader)."""
        return first_key(self.key_candidates(wanted, normalization))

    def key_candidates(
        self, wanted: Priority | Path, normalization: EmailNormalization
    ) -> list[KeyCandidate]:
        """Return where the context key may stand, in order (Reader)."""
        if isinstance(wanted, Path):
            return [self._candidate(str(wanted), _walk(wanted), None)]
        return [
            self._candidate(*self._identifiers[name], normalization if name == "email" else None)
            for name in wanted.removesuffix("_only").split("_then_")
        ]

    def kind_reader(self, path: Path) -> TextReader:
        """Return what reads the context kind (Reader)."""
        read = self._text(path)

        def read_kind(document: Document, value: bytes) -> str | Verdict:
            del value
            kind = read(document)
            known = isinstance(kind, str) and is_context_kind(kind)
            return kind if known else verdict.BAD_CONTEXT_KIND

        return read_kind

    def _text(self, path: Path) -> Get:
        return self._text_at(_walk(path))

    def _text_at(self, read: Get) -> Get:
        keep_empty = self._keep_empty
        return lambda document: text_of(read(document), keep_empty=keep_empty)

    def _candidate(
        self, place: str, at: Get, normalization: EmailNormalization | None
    ) -> KeyCandidate:
        text = self._text_at(at)

        def read(document: Document, value: bytes) -> str | Verdict | None:
            del value
            key = text(document)
            if key is NO_TEXT:
                return verdict.BAD_IDENTIFIER
            if key and normalization is not None:
                key = normalization.apply(key)
            if not key:
                return None
            return key if events.is_sendable(key) else verdict.NO_CONTEXT_KEY

        return KeyCandidate(place, at, read)


def _walk(path: Path) -> Get:
    """Walk a path as Segment does in mappings, which is as it does in triggers."""
    return field_reader(Field(path.steps[0], path.steps[1:]))


def _usual_email(document: Document) -> Any:
    found = _own_email(document)
    return _other_email(document) if found is None else found


def _usual_flags(document: Document) -> Any:
    properties = document.get("properties")
    return document.get("traits") if properties is None else properties


_own_email = _walk(Path(("traits", "email")))
_other_email = _walk(Path(("context", "traits", "email")))


def _is_sendable(text: Any) -> bool:
    return isinstance(text, str) and events.is_sendable(text)


def _itself(document: Document) -> Document:
    return document
