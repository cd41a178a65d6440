"""What the simulated account holds: projects, their environments, and the segments in those."""

import hashlib
import uuid

from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.segment import Segment


def stable_id(text: str) -> str:
    """An id of 24 hexadecimal digits, the same for the same text on every run."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Environment:
    """One environment of a project; segments belong to it."""

    __slots__ = ("approvals_required", "deleted", "id", "key", "project_key", "segments")

    def __init__(self, project_key: str, key: str, client_side_id: str | None = None) -> None:
        self.project_key = project_key
        self.key = key
        self.id = client_side_id or stable_id(f"{project_key}/{key}")
        self.approvals_required = False
        self.segments: dict[str, Segment] = {}
        self.deleted: dict[str, int] = {}  # segment key -> generation it had

    @property
    def path(self) -> str:
        """Its address in the API."""
        return f"/api/v2/projects/{self.project_key}/environments/{self.key}"

    @property
    def sdk_key(self) -> str:
        """Its SDK key: a secret that must not leave a client's replies."""
        return f"sdk-{uuid.uuid5(uuid.NAMESPACE_URL, 'sdk' + self.id)}"

    @property
    def mobile_key(self) -> str:
        """Its mobile key: likewise."""
        return f"mob-{uuid.uuid5(uuid.NAMESPACE_URL, 'mob' + self.id)}"

    def segment(self, key: str) -> Segment:
        """The segment of that key.

        Raises:
            Refusal: There is none.
        """
        try:
            return self.segments[key]
        except KeyError:
            raise Refusal(404) from None

    def create_segment(self, key: str, name: str, now_ms: int) -> Segment:
        """A new, empty standard segment.

        Raises:
            Refusal: The key is taken (409 `key_exists`, not documented but real) or invalid.
        """
        if key in self.segments:
            raise Refusal(409, "Duplicate segment key", code="key_exists")
        path = f"/api/v2/segments/{self.project_key}/{self.key}/{key}"
        segment = Segment(key, name, path=path, environment_id=self.id, now_ms=now_ms)
        segment.generation = self.deleted.get(key, 0) + 1
        self.segments[key] = segment
        return segment

    def delete_segment(self, key: str) -> None:
        """Delete a segment; its generation is remembered.

        Raises:
            Refusal: There is none.
        """
        self.deleted[key] = self.segment(key).generation
        del self.segments[key]

    def document(self) -> dict[str, object]:
        """The body `Environment` (launchdarkly-api contract 2.2)."""
        return {
            "_id": self.id,
            "key": self.key,
            "name": self.key.capitalize(),
            "apiKey": self.sdk_key,
            "mobileKey": self.mobile_key,
            "color": "417505",
            "defaultTtl": 0,
            "secureMode": False,
            "defaultTrackEvents": False,
            "requireComments": False,
            "confirmChanges": False,
            "critical": False,
            "tags": [],
            "resourceApprovalSettings": {
                "segment": {
                    "required": self.approvals_required,
                    "bypassApprovalsForPendingChanges": False,
                    "minNumApprovals": 1,
                    "canReviewOwnRequest": False,
                    "canApplyDeclinedChanges": False,
                    "serviceKind": "launchdarkly",
                    "serviceConfig": {},
                    "requiredApprovalTags": [],
                    "resourceKind": "segment",
                }
            },
            "_links": {"self": {"href": self.path, "type": "application/json"}},
        }


class Project:
    """A project: a name over environments."""

    __slots__ = ("environments", "id", "key")

    def __init__(self, key: str) -> None:
        self.key = key
        self.id = stable_id(key)
        self.environments: dict[str, Environment] = {}

    @property
    def path(self) -> str:
        """Its address in the API."""
        return f"/api/v2/projects/{self.key}"

    def document(self) -> dict[str, object]:
        """The body `Project` without its environments (launchdarkly-api contract 2.1)."""
        return {
            "_id": self.id,
            "key": self.key,
            "name": self.key.capitalize(),
            "includeInSnippetByDefault": False,
            "tags": [],
            "_links": {
                "self": {"href": self.path, "type": "application/json"},
                "environments": {"href": f"{self.path}/environments", "type": "application/json"},
            },
        }


class World:
    """The account."""

    __slots__ = ("projects",)

    def __init__(self) -> None:
        self.projects: dict[str, Project] = {}

    def add_environment(
        self, project_key: str, key: str, client_side_id: str | None = None
    ) -> Environment:
        """Add an environment, and its project when that is new.

        Raises:
            ValueError: It exists already.
        """
        project = self.projects.setdefault(project_key, Project(project_key))
        if key in project.environments:
            raise ValueError(f"environment {project_key}/{key} exists already")
        environment = Environment(project_key, key, client_side_id)
        project.environments[key] = environment
        return environment

    def project(self, key: str) -> Project:
        """The project of that key.

        Raises:
            Refusal: There is none.
        """
        try:
            return self.projects[key]
        except KeyError:
            raise Refusal(404) from None

    def environment(self, project_key: str, key: str) -> Environment:
        """The environment of that key; the reply does not say which of the two keys is wrong.

        Raises:
            Refusal: There is none.
        """
        try:
            return self.project(project_key).environments[key]
        except KeyError:
            raise Refusal(404) from None

    def by_client_side_id(self, client_side_id: str) -> Environment | None:
        """The environment with that client-side ID."""
        for project in self.projects.values():
            for environment in project.environments.values():
                if environment.id == client_side_id:
                    return environment
        return None
