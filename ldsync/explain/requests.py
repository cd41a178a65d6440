"""What would be sent to LaunchDarkly for the changes of one record, in each way of writing.

The requests are made by the builders of the writers, as if nothing else were in the batch. Whether
the segment exists, and that it is created first if it does not, is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from ldsync.launchdarkly.request import headers_of
from ldsync.launchdarkly.writers.big_contexts import contexts_requests
from ldsync.launchdarkly.writers.segment_targets import targets_requests
from ldsync.launchdarkly.writers.semantic_patch import MAX_OPERATIONS, patch_requests
from ldsync.launchdarkly.writers.sides import ExitAction
from ldsync.sync.change import supersedes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ldsync.config import LaunchDarklySettings
    from ldsync.launchdarkly.request import Request
    from ldsync.sync.change import Change, Segment

    Changes = Sequence[tuple[str, str]]
    Build = Callable[[Segment, Changes], tuple[Request, ...]]

TOKEN: Final = "<token>"  # noqa: S105 - what is shown instead of one
_PROJECT: Final = "<project key>"
_ENVIRONMENT: Final = "<environment key>"
_CLIENT_SIDE_ID: Final = "<client-side ID>"
_PLACEHOLDERS: Final = (_PROJECT, _ENVIRONMENT)


@dataclass(frozen=True, slots=True)
class Shown:
    """One request as it would be sent, but for the token.

    `write_path` is the way of writing it belongs to, and `is_configured` says whether that is the
    one of the configuration.
    """

    write_path: str
    is_configured: bool
    method: str
    url: str
    headers: dict[str, str]
    body: Any


class Destination:
    """Where requests would go. What is not configured is shown as a placeholder: `<project key>`.

    Args:
        settings: The section `[launchdarkly]`; its token is not looked at.
    """

    def __init__(self, settings: LaunchDarklySettings) -> None:
        project = settings.project_key or _PROJECT
        environment = settings.environment_key or _ENVIRONMENT
        client_side_id = settings.client_side_id or _CLIENT_SIDE_ID
        leaving = ExitAction(settings.exit_action)
        self._base_url = settings.base_url.rstrip("/")
        self._write_path = settings.write_path
        most = settings.max_members_per_request
        self._paths: dict[str, tuple[Build, int]] = {
            "standard": (
                lambda segment, changes: patch_requests(
                    project, environment, segment, changes, leaving
                ),
                MAX_OPERATIONS,
            ),
            "big": (
                lambda segment, changes: contexts_requests(
                    project, environment, segment, changes, leaving
                ),
                most,
            ),
            "synced": (
                lambda segment, changes: targets_requests(client_side_id, segment, changes),
                most,
            ),
        }

    def requests(self, changes: Sequence[Change]) -> Iterator[Shown]:
        """Return what would be sent for these changes, one way of writing after the other."""
        for write_path, (build, most) in self._paths.items():
            for segment, batch in _batches(changes, most, one_kind=write_path != "standard"):
                for request in build(segment, batch):
                    yield self._shown(write_path, request)

    def _shown(self, write_path: str, request: Request) -> Shown:
        path = request.path
        for placeholder in _PLACEHOLDERS:
            path = path.replace(quote(placeholder, safe=""), placeholder)
        return Shown(
            write_path,
            write_path == self._write_path,
            request.method,
            self._base_url + path,
            headers_of(TOKEN) | {"Content-Type": request.content_type},
            orjson.loads(request.encoded() or b"null"),
        )


def _batches(
    changes: Iterable[Change], most: int, *, one_kind: bool
) -> Iterator[tuple[Segment, Changes]]:
    """Put changes together as the buffer does: by segment, the newest of each member."""
    batches: dict[object, tuple[Segment, dict[str, str]]] = {}
    for number, (target, member, stamp) in enumerate(changes):
        kind = target.context_kind if one_kind else ""
        place = (target.segment, kind) if target.batch_events else number
        _, batch = batches.setdefault(place, (target.segment, {}))
        if member not in batch or supersedes(stamp, batch[member]):
            batch[member] = stamp
    for segment, batch in batches.values():
        members = list(batch.items())
        for start in range(0, len(members), most):
            yield segment, members[start : start + most]
