"""The LaunchDarkly environment that is written to: what was configured, and what it turned out as.

There is one per process. `resolution` looks it up and `watch` fills it in; until then writes wait.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

_NOT_YET = "the environment was not looked up yet"


@dataclass(frozen=True, slots=True)
class Found:
    """What LaunchDarkly says of an environment: all that is kept of a reply that holds SDK keys.

    Attributes:
        project_key: Key of its project.
        environment_key: Its key.
        client_side_id: Its id, in lower case; empty if the reply did not show it.
        approvals_required: Whether changes of segments need an approval.
        access: Actions in it that the reply said the token may (True) or may not do; mostly none.
    """

    project_key: str
    environment_key: str
    client_side_id: str = ""
    approvals_required: bool = False
    access: Mapping[str, bool] = field(default_factory=dict, hash=False, compare=False)


class Environment:
    """One environment of one project: both keys, its client-side ID, or all three are given.

    Attributes:
        project_key: Key of the project; empty until it is resolved, if only the id was given.
        environment_key: Key of the environment; likewise.
        client_side_id: Its id; empty until it is resolved, if only the keys were given.
        approvals_required: Whether changes of segments need an approval.
        needs_keys: Whether the keys have to be found; synced segments need no more than the id.
        problem: Why it is not resolved, in words; empty when it is.
    """

    __slots__ = (
        "_doubted",
        "approvals_required",
        "client_side_id",
        "environment_key",
        "needs_keys",
        "problem",
        "project_key",
        "wanted",
    )

    def __init__(
        self,
        project_key: str = "",
        environment_key: str = "",
        client_side_id: str = "",
        *,
        needs_keys: bool = True,
    ) -> None:
        self.wanted = Found(project_key, environment_key, client_side_id)
        self.project_key = project_key
        self.environment_key = environment_key
        self.client_side_id = client_side_id
        self.approvals_required = False
        self.needs_keys = needs_keys
        self.problem = _NOT_YET
        self._doubted = asyncio.Event()

    def __str__(self) -> str:
        """As operators read it: by its keys as soon as they are known."""
        if self.environment_key:
            return f"environment {self.environment_key} of project {self.project_key}"
        return f"the environment with client-side ID {self.client_side_id}"

    def __repr__(self) -> str:
        return f"<Environment {self}>"

    @property
    def resolved(self) -> bool:
        """Whether it was found, so that its segments may be written."""
        return not self.problem

    def resolve(self, found: Found) -> None:
        """Take up what was found."""
        self.project_key = found.project_key
        self.environment_key = found.environment_key
        self.client_side_id = found.client_side_id or self.wanted.client_side_id
        self.approvals_required = found.approvals_required
        self.problem = ""

    def lose(self, problem: str) -> None:
        """It cannot be found: writes wait until it can."""
        self.problem = problem

    def doubt(self) -> None:
        """A write was answered as if it were not there: ask for it to be looked up again."""
        self._doubted.set()

    async def doubted(self) -> None:
        """Wait until somebody doubts that it is there."""
        await self._doubted.wait()
        self._doubted.clear()
