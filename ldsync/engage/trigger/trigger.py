"""A trigger that is ready to be asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ldsync.engage.trigger.compiling import Test, compiled
from ldsync.engage.trigger.constants import TYPE, Constants, constants_of
from ldsync.engage.trigger.parser import parse_expression
from ldsync.engage.trigger.reasons import reasons

if TYPE_CHECKING:
    from ldsync.engage.events import Document
    from ldsync.engage.trigger.syntax import Expression


@dataclass(frozen=True, slots=True)
class Trigger:
    """Which events are wanted. Two triggers are equal if they say the same in the same order.

    `matches` is the compiled closure: `trigger.matches(document)` is True for an event that is
    wanted. It never raises, whatever stands in the event.

    `types` are the only types of events that can match, None if any can; an empty set never does.
    `decided_by_type` says that all events of those types match, so that `matches` need not be
    asked.

    `constants` are the texts that all events which match have in certain fields, the type among
    them.

    `str(trigger)` is the canonical text, which parses to an equal trigger.
    """

    expression: Expression
    matches: Test = field(init=False, repr=False, compare=False)
    types: frozenset[str] | None = field(init=False, repr=False, compare=False)
    decided_by_type: bool = field(init=False, repr=False, compare=False)
    constants: Constants = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        constants = constants_of(self.expression)
        decided_by_type = constants.decisive and set(constants.texts) == {TYPE}
        object.__setattr__(self, "matches", compiled(self.expression))
        object.__setattr__(self, "types", constants.texts.get(TYPE))
        object.__setattr__(self, "decided_by_type", decided_by_type)
        object.__setattr__(self, "constants", constants)

    def why_not(self, document: Document) -> tuple[str, ...]:
        """Say why an event does not match, one failed condition each; nothing if it matches.

        `type = "identify" is false: type is "page"`. This is for a person who looks at one event;
        it quotes values of the event and belongs in no log.
        """
        return reasons(self.expression, document)

    def __str__(self) -> str:
        return str(self.expression)


def parse(text: str) -> Trigger:
    """Read a trigger.

    Raises:
        TriggerError: The text is no trigger; the error knows the place.
    """
    return Trigger(parse_expression(text))
