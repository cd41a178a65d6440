"""Triggers: which events a mapping wants, said in Segment's filter language (docs/triggers.md).

A trigger is parsed once, when the program starts, and compiled into a closure that is asked for
every event. What cannot be understood is refused with the place where understanding ended; nothing
is read past in silence.
"""

from ldsync.engage.trigger.errors import TriggerError
from ldsync.engage.trigger.parser import MOST_CHARACTERS, MOST_NESTING
from ldsync.engage.trigger.syntax import AllOf, AnyOf, Condition, Expression, Field, Operator
from ldsync.engage.trigger.trigger import Trigger, parse

__all__ = [
    "MOST_CHARACTERS",
    "MOST_NESTING",
    "AllOf",
    "AnyOf",
    "Condition",
    "Expression",
    "Field",
    "Operator",
    "Trigger",
    "TriggerError",
    "parse",
]
