"""Finding the environment: by its keys in one request, or by its client-side ID by walking.

No operation of the API leads from a client-side ID to keys, so all projects are paged through, each
with the first page of its environments (launchdarkly-api contract 2). The replies carry SDK keys:
what is needed is read from them and the rest dropped at once, before anything else can happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from ldsync.launchdarkly.environment import Environment, Found
from ldsync.launchdarkly.outcome import Patience, Retry, RetryReason, Scope, Verdict
from ldsync.launchdarkly.reply import NoAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ldsync.launchdarkly.client import LaunchDarklyClient

PROJECTS_ROUTE: Final = "/api/v2/projects"
ENVIRONMENTS_ROUTE: Final = "/api/v2/projects/{projectKey}/environments"
ENVIRONMENT_ROUTE: Final = f"{ENVIRONMENTS_ROUTE}/{{environmentKey}}"

#: What the API gives by default; the most it gives is not documented.
PAGE: Final = 20

#: Pages of one listing at most: 40,000 projects. A listing without end must have one here.
MAX_PAGES: Final = 2_000

_FORBIDDEN = (
    "The token must be allowed to see projects and environments: its role must not deny viewProject"
)
_INSTANCE = (
    "Check launchdarkly.client_side_id, launchdarkly.instance (or base_url), and that the token "
    "may see the project: private projects are simply missing"
)


async def resolve(client: LaunchDarklyClient, environment: Environment) -> Found | Retry:
    """Look the environment up; with keys and client-side ID, see that they name the same.

    Returns:
        What was found; else why not, in words for the operator, and how soon to ask again.
    """
    wanted = environment.wanted
    if not wanted.environment_key and not environment.needs_keys:
        return wanted
    try:
        if wanted.environment_key:
            return await _by_keys(client, wanted)
        return await _by_id(client, wanted.client_side_id)
    except _Unanswered as trouble:
        return trouble.retry


class _Unanswered(Exception):
    """A question was not answered; carries words, and nothing of a reply."""

    def __init__(self, retry: Retry) -> None:
        super().__init__(retry.detail)
        self.retry = retry


async def _by_keys(client: LaunchDarklyClient, wanted: Found) -> Found | Retry:
    where = f"environment {wanted.environment_key} of project {wanted.project_key}"
    doing = f"looking up {where}"
    names = {"projectKey": wanted.project_key, "environmentKey": wanted.environment_key}
    document = await _ask(client, ENVIRONMENT_ROUTE, names, {}, doing)
    if document.get("archived") is True:
        return _lasting(
            f"{where} is archived; every write waits. Restore it, or configure another one"
        )
    found = _read(document, wanted.project_key)
    if found is None or found.environment_key != wanted.environment_key:
        return _implausible(doing, "that environment is not in the answer")
    if wanted.client_side_id and found.client_side_id != wanted.client_side_id:
        return _lasting(
            f"{where} has the client-side ID {found.client_side_id or '(none shown)'}, and "
            f"launchdarkly.client_side_id is {wanted.client_side_id}; every write waits. Correct "
            "the one that is wrong, or leave out either the id or both keys"
        )
    return found


async def _by_id(client: LaunchDarklyClient, wanted: str) -> Found | Retry:
    """Walk all projects; then the environments of those that did not show all of theirs."""
    doing = f"looking for the environment with client-side ID {wanted}"
    short: list[str] = []
    projects = 0
    async for project in _items(client, PROJECTS_ROUTE, {}, {"expand": "environments"}, doing):
        key = project.get("key")
        if not isinstance(key, str) or not key:
            continue
        projects += 1
        embedded = project.get("environments")
        page: dict[str, Any] = embedded if isinstance(embedded, dict) else {}
        shown = _dicts(page.get("items"))
        for item in shown:
            found = _read(item, key)
            if found is not None and found.client_side_id == wanted:
                return found
        total = page.get("totalCount")
        if not isinstance(total, int) or total > len(shown):
            short.append(key)
    for key in short:
        names = {"projectKey": key}
        async for item in _items(client, ENVIRONMENTS_ROUTE, names, {}, doing):
            found = _read(item, key)
            if found is not None and found.client_side_id == wanted:
                return found
    seen = "1 project" if projects == 1 else f"{projects} projects"
    return _lasting(f"{doing}: it is in none of the {seen} that the token sees. {_INSTANCE}")


async def _items(
    client: LaunchDarklyClient,
    route: str,
    names: Mapping[str, str],
    query: Mapping[str, str],
    doing: str,
) -> AsyncIterator[dict[str, Any]]:
    """Everything in a listing, page by page."""
    query = {"limit": str(PAGE), "offset": "0", **query}
    for _ in range(MAX_PAGES):
        document = await _ask(client, route, names, query, doing)
        for item in _dicts(document.get("items")):
            yield item
        following = _next(document, query)
        if following is None:
            return
        query = following
    raise _Unanswered(_implausible(doing, f"the listing has more than {MAX_PAGES:,} pages"))


async def _ask(
    client: LaunchDarklyClient,
    route: str,
    names: Mapping[str, str],
    query: Mapping[str, str],
    doing: str,
) -> dict[str, Any]:
    """The body of a reply.

    Raises:
        _Unanswered: There was none that could be used.
    """
    answer = await client.request("GET", route, names, query=query, urgent=True)
    if isinstance(answer, NoAnswer):
        raise _Unanswered(answer.retry(doing))
    ruling = answer.ruling
    if ruling.verdict is not Verdict.ACCEPTED:
        advice = _FORBIDDEN if ruling.reason is RetryReason.FORBIDDEN else ruling.advice
        detail = f"{doing}: LaunchDarkly answered {answer.error or answer.status}"
        raise _Unanswered(
            Retry(
                ruling.reason,
                f"{detail}; every write waits{f'. {advice}' if advice else ''}",
                answer.after,
                Scope.EVERYTHING,
                ruling.patience,
            )
        )
    document = answer.document()
    if document is None:
        raise _Unanswered(_implausible(doing, "it is not the JSON that was asked for"))
    return document


def _next(page: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, str] | None:
    """The query for the page after this one; None if this was the last (contract 2.3).

    Of the link only the query is used: it is relative, and where it leads is not for a reply to
    say. A link that does not lead on is not followed.
    """
    offset = int(query["offset"])
    items = page.get("items")
    shown = len(items) if isinstance(items, list) else 0
    links = page.get("_links")
    link = links.get("next") if isinstance(links, dict) else None
    href = link.get("href") if isinstance(link, dict) else None
    if isinstance(href, str):
        asked = dict(parse_qsl(urlsplit(href).query))
        onwards = asked.get("offset", "")
        if onwards.isdecimal() and int(onwards) > offset:
            return {**query, **asked}
    total = page.get("totalCount")
    is_last = offset + shown >= total if isinstance(total, int) else shown < int(query["limit"])
    return None if is_last or not shown else {**query, "offset": str(offset + shown)}


def _read(document: Mapping[str, Any], project_key: str) -> Found | None:
    """What is kept of an environment; None if this is none."""
    key, identity = document.get("key"), document.get("_id")
    if not isinstance(key, str) or not key:
        return None
    settings = document.get("resourceApprovalSettings")
    approvals = settings.get("segment") if isinstance(settings, dict) else None
    return Found(
        project_key,
        key,
        identity.lower() if isinstance(identity, str) else "",
        isinstance(approvals, dict) and approvals.get("required") is True,
        access_in(document),
    )


def access_in(document: Mapping[str, Any]) -> dict[str, bool]:
    """What a resource says the token may do with it, by action; nothing if it does not say."""
    access = document.get("_access")
    if not isinstance(access, dict):
        return {}
    return {
        str(entry.get("action")): allowed
        for side, allowed in (("allowed", True), ("denied", False))
        for entry in _dicts(access.get(side))
    }


def _dicts(items: object) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _lasting(detail: str) -> Retry:
    return Retry(RetryReason.NOT_FOUND, detail, scope=Scope.EVERYTHING, patience=Patience.OPERATOR)


def _implausible(doing: str, finding: str) -> Retry:
    return Retry(
        RetryReason.UNEXPECTED,
        f"{doing}: there was an answer, but {finding}; every write waits. Check "
        "launchdarkly.base_url and what lies between",
        scope=Scope.EVERYTHING,
        patience=Patience.OPERATOR,
    )
