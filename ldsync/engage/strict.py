"""Reading events with care: the rules of Segment's destination with its known defects mended.

A removal is never guessed, a wrong type is never coerced into a membership, and no event can stop
another (docs/events.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ldsync.engage import events, verdict
from ldsync.engage.naming import is_context_kind
from ldsync.engage.paths import Path, reader
from ldsync.engage.reading import Audience, KeyCandidate, first_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ldsync.engage.events import Document
    from ldsync.engage.mapping import EmailNormalization, Fields, Priority
    from ldsync.engage.reading import TextReader
    from ldsync.engage.verdict import Verdict

_WORDS: Final = {"true": True, "false": False}
_EMAILS: Final = (Path(("traits", "email")), Path(("context", "traits", "email")))


class StrictReader:
    """Reads events whose fields stand where `fields` says."""

    def __init__(self, fields: Fields) -> None:
        """Prepare to read these fields."""
        self._fields = fields
        above = Path(fields.computation_class.steps[:-1])
        self._holder: Callable[[Document], Any] = reader(above) if above.steps else _itself
        self._class = fields.computation_class.steps[-1]
        self._id = reader(fields.audience_id)
        self._key = reader(fields.audience_key)
        place = fields.traits_or_properties
        self._place = str(place) if place else ""
        self._flags = None if place is None else reader(place)

    def audience(self, document: Document, value: bytes) -> Audience | Verdict:
        """Return the audience, or why there is none (Reader)."""
        holder = self._holder(document)
        if type(holder) is not dict:
            return verdict.NOT_ENGAGE
        computation_class = holder.get(self._class)
        if computation_class not in events.AUDIENCE_CLASSES:
            return verdict.CLASS_NOT_AUDIENCE
        audience_id, audience_key = self._id(document), self._key(document)
        if type(audience_id) is float or type(audience_key) is float:
            document = events.with_exact_integers(document, value)
            audience_id, audience_key = self._id(document), self._key(document)
        audience_id, audience_key = events.text(audience_id), events.text(audience_key)
        if not audience_id:
            return verdict.BAD_AUDIENCE_ID
        if not audience_key:
            return verdict.BAD_AUDIENCE_KEY
        return Audience(audience_id, audience_key, computation_class)

    def membership(self, document: Document, audience: Audience) -> bool | Verdict:
        """Return whether the member is in, from the flag named like the audience key (Reader).

        It stands in `traits` of an identify and `properties` of a track call; where it is not
        there, the other one is looked at. Null is as absent: leaving is said by `false`, never by
        silence.
        """
        for _, flags in self.flag_objects(document):
            flag = flags.get(audience.key) if type(flags) is dict else None
            if type(flag) is bool:
                return flag
            if type(flag) is str:
                return _WORDS.get(flag.lower(), verdict.MEMBERSHIP_NOT_BOOLEAN)
            if flag is not None:
                return verdict.MEMBERSHIP_NOT_BOOLEAN
        return verdict.MEMBERSHIP_MISSING

    def flag_objects(self, document: Document) -> Sequence[tuple[str, object]]:
        """Return where the flag is looked for, in order, and what stands there (Reader)."""
        if self._flags is not None:
            return ((self._place, self._flags(document)),)
        traits = ("traits", document.get("traits"))
        properties = ("properties", document.get("properties"))
        return (properties, traits) if document.get("type") == "track" else (traits, properties)

    def key_reader(self, wanted: Priority | Path, normalization: EmailNormalization) -> TextReader:
        """Return what reads the context key: the first candidate that is one (Reader).

        A key is never trimmed, and blank text is none.
        """
        return first_key(self.key_candidates(wanted, normalization))

    def key_candidates(
        self, wanted: Priority | Path, normalization: EmailNormalization
    ) -> list[KeyCandidate]:
        """Return where the context key may stand, in order (Reader)."""
        return [
            _candidate(path, normalization if is_email else None)
            for path, is_email in self._places(wanted)
        ]

    def _places(self, wanted: Priority | Path) -> list[tuple[Path, bool]]:
        """Return where a key may stand, in order, and whether it is an e-mail address there."""
        if isinstance(wanted, Path):
            return [(wanted, False)]
        fields = self._fields
        emails = _EMAILS if fields.email is None else (fields.email,)
        parts = {
            "user_id": [(fields.user_id, False)],
            "email": [(path, True) for path in emails],
            "anonymousId": [(fields.anonymous_id, False)],
        }
        names = wanted.removesuffix("_only").split("_then_")
        return [candidate for name in names for candidate in parts[name]]

    def kind_reader(self, path: Path) -> TextReader:
        """Return what reads the context kind: text that LaunchDarkly accepts (Reader)."""
        read = reader(path)

        def read_kind(document: Document, value: bytes) -> str | Verdict:
            del value
            kind = read(document)
            known = type(kind) is str and is_context_kind(kind)
            return kind if known else verdict.BAD_CONTEXT_KIND

        return read_kind


def _itself(document: Document) -> Document:
    return document


def _candidate(path: Path, normalization: EmailNormalization | None) -> KeyCandidate:
    at = reader(path)

    def read(document: Document, value: bytes) -> str | None:
        found = at(document)
        if type(found) is float:
            found = at(events.with_exact_integers(document, value))
        key = events.text(found)
        if not key or key.isspace():
            return None
        return key if normalization is None else normalization.apply(key)

    return KeyCandidate(str(path), at, read)
