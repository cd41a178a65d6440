"""Plans: what is to be asked of an event, narrowed down by the texts that stand in its fields.

With 50 mappings of which each wants one audience, testing every trigger would cost more than all
the rest. Most triggers compare fields with constants, so one look at each such field says which of
them can match at all, and often that they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ldsync.engage.trigger.constants import TYPE
from ldsync.engage.trigger.values import reader as field_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ldsync.engage.events import Document
    from ldsync.engage.reading import Reader, TextReader
    from ldsync.engage.rules import Rule
    from ldsync.engage.trigger import Field, Trigger
    from ldsync.engage.trigger.compiling import Test
    from ldsync.sync.change import Target

UNUSUAL: Final[dict[Any, Target]] = {}
"""In place of the targets of a rule that alone decides, where there is no such rule."""

_MOST_CHOICES: Final = 1_000
"""Kept of a type; there are as many as there are sets of triggers that events have left."""


class Wanted(NamedTuple):
    """A rule, and the tests one of which an event has to pass; none if it passes anyway."""

    rule: Rule
    tests: tuple[Test, ...]


class Keyed(NamedTuple):
    """Rules that take the same context key."""

    read_key: TextReader
    wanted: tuple[Wanted, ...]


class Group(NamedTuple):
    """Rules that read the same fields."""

    reader: Reader
    keyed: tuple[Keyed, ...]


Plan = tuple[Group, ...]
"""All that is to be asked of an event."""


class Candidate(NamedTuple):
    """A rule, what it reads with, and the triggers one of which has to match."""

    reader: Reader
    read_key: TextReader
    rule: Rule
    triggers: tuple[Trigger, ...]


class Choice(NamedTuple):
    """A plan for an event, and the targets of the rule that alone decides if it looks as usual.

    `targets` is UNUSUAL if there is no such rule, and None if no rule can want the event, should it
    be one of an audience. `tests` are those of that rule (Wanted).
    """

    plan: Plan
    targets: dict[Any, Target] | None
    tests: tuple[Test, ...]


class Chooser:
    """Chooses the plan for an event of one type.

    What is left out of a plan cannot change the answer: a rule of which no trigger can match says
    "not wanted", and that counts once. `selects` says whether there is anything to choose from, and
    `classes` where the computation class may stand.
    """

    __slots__ = ("_all", "_candidates", "_choices", "_is_usual", "_looks", "classes", "selects")

    def __init__(self, candidates: Iterable[Candidate], is_usual: Callable[[Rule], bool]) -> None:
        """Choose among `candidates`; `is_usual` says which rules can decide alone."""
        self._candidates = _in_order_of_plan(candidates)
        self._is_usual = is_usual
        triggers = [trigger for each in self._candidates for trigger in each.triggers]
        self._all = (1 << len(triggers)) - 1
        self._looks = tuple(_look(field, triggers) for field in _fields(triggers))
        self._choices: dict[int, Choice] = {}
        self.selects = bool(self._looks)
        self.classes = {each.rule.mapping.fields.computation_class for each in self._candidates}

    def choose(self, document: Document) -> Choice:
        """Return what is to be asked of an event."""
        left = self._all
        for read, having, otherwise in self._looks:
            text = read(document)
            left &= having.get(text, otherwise) if type(text) is str else otherwise
        return self._choices.get(left) or self._add(left)

    def _add(self, left: int) -> Choice:
        """Make the choice for events of which the triggers with these bits can match."""
        if len(self._choices) >= _MOST_CHOICES:
            self._choices.clear()
        entries: list[tuple[Reader, TextReader, Wanted]] = []
        live: list[Wanted] = []
        bit, is_refused = 0, False
        for reader, read_key, rule, triggers in self._candidates:
            possible = [each for n, each in enumerate(triggers, bit) if left >> n & 1]
            bit += len(triggers)
            if possible:
                decided = any(trigger.constants.decisive for trigger in possible)
                tests = () if decided else tuple(trigger.matches for trigger in possible)
                live.append(Wanted(rule, tests))
                entries.append((reader, read_key, live[-1]))
            elif not is_refused:
                is_refused = True
                entries.append((reader, read_key, Wanted(rule, (_never,))))
        plan = _grouped(entries)
        choice = Choice(plan, UNUSUAL, ())
        if not live:
            choice = Choice(plan, None, ())
        elif len(live) == 1 and self._is_usual(live[0].rule):
            choice = Choice(plan, live[0].rule.targets, live[0].tests)
        self._choices[left] = choice
        return choice


_Look = tuple["Callable[[Document], object]", dict[str, int], int]
"""What reads a field, the triggers that can match with a text in it, and with anything else."""


def _fields(triggers: Iterable[Trigger]) -> list[Field]:
    """Return the fields to look at, each once; the type has been looked at."""
    fields = dict.fromkeys(field for each in triggers for field in each.constants.texts)
    return [field for field in fields if field != TYPE]


def _look(field: Field, triggers: Sequence[Trigger]) -> _Look:
    """Say with bits, of which the lowest is that of the first, which triggers can match."""
    having: dict[str, int] = {}
    otherwise = 0
    for number, trigger in enumerate(triggers):
        for text in trigger.constants.texts.get(field, ()):
            having[text] = having.get(text, 0) | 1 << number
        if field not in trigger.constants.texts:
            otherwise |= 1 << number
    return field_reader(field), {text: bits | otherwise for text, bits in having.items()}, otherwise


def _never(document: Document) -> bool:
    """Stand for the tests of a rule that cannot match."""
    del document
    return False


def _in_order_of_plan(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Bring those together that read the same fields, and of these those with the same key."""
    readers: dict[int, dict[int, list[Candidate]]] = {}
    for each in candidates:
        readers.setdefault(id(each.reader), {}).setdefault(id(each.read_key), []).append(each)
    return [each for keys in readers.values() for alike in keys.values() for each in alike]


def _grouped(entries: Iterable[tuple[Reader, TextReader, Wanted]]) -> Plan:
    """Make a plan of what stands in its order already."""
    groups: dict[int, tuple[Reader, dict[int, tuple[TextReader, list[Wanted]]]]] = {}
    for reader, read_key, each in entries:
        _, keyed = groups.setdefault(id(reader), (reader, {}))
        _, wanted = keyed.setdefault(id(read_key), (read_key, []))
        wanted.append(each)
    return tuple(
        Group(reader, tuple(Keyed(read_key, tuple(wanted)) for read_key, wanted in keyed.values()))
        for reader, keyed in groups.values()
    )
