"""A deliberate bug, and the run that brings it to light."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.chaos.mischief import Step
from tests.chaos.plan import Plan, plan


class AnchorGone(ValueError):
    """The text that a bug replaces is not there exactly once: the code has moved on."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One text of one file that becomes another one."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug.

    Attributes:
        name: A slug.
        breaks: The promise or rule that it breaks.
        what: What is done wrong, in words.
        edits: How it is made.
        deployment: What is not as the seed says, of a `Plan`.
        steps: The mischief, instead of that of the seed.
        expected: Rules of the judge of which it must break one.
    """

    name: str
    breaks: str
    what: str
    edits: tuple[Edit, ...]
    expected: frozenset[str]
    deployment: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def plan(self, seed: int) -> Plan:
        """The run of a seed."""
        return replace(plan(seed), **self.deployment, steps=self.steps)

    def apply(self, tree: Path) -> None:
        """Put it into a copy of the repository.

        Raises:
            AnchorGone: It does not fit the code any more.
        """
        for edit in self.edits:
            path = tree / edit.file
            text = path.read_text()
            if text.count(edit.old) != 1:
                raise AnchorGone(
                    f"{self.name}: {edit.file} has this {text.count(edit.old)} times, not once:\n"
                    f"{edit.old}"
                )
            path.write_text(text.replace(edit.old, edit.new))
