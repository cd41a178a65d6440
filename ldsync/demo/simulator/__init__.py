"""A simulator of LaunchDarkly's REST API: what `ldsync demo` and the tests write to.

It keeps projects, environments and segments in memory, refuses what LaunchDarkly refuses, ignores
what LaunchDarkly ignores, announces rate limits, misbehaves on order, and writes down every request
with its members and times. Operations and bodies are those of LaunchDarkly's OpenAPI document, and
its documentation of semantic patches and synced segments. What they leave open is decided here on
the strict side: the 1,500 target operations are counted over the whole request, the 15,000 targets
over both lists (400), and a key named twice in one list of a call on a big segment is refused.

From Python: `Simulator`, `Fault`, `Limits`. As a process: `serve` (`ldsync simulator`), steered
over HTTP. These endpoints need no token and are not in the log; bind the simulator to an address
that only you reach.

GET /
    A page for people: segments and how many members they have.
GET /simulator/state?segment=&project=&environment=
    `{segment key: {"included": {kind: [keys]}, "excluded": …, "name", "version", "generation",
    "unbounded", "tags"}}`; all segments, or the one named.
GET /simulator/log?after=&limit=&segment=&key=
    `{"exchanges": […], "dropped": n, "wall_offset": s}`: requests in order of arrival, from the
    sequence number after `after`, at most `limit` (1,000), only those that write to a segment or
    name a context key. Each has `sequence`, `route`, `method`, `path`, `query`, `arrived`,
    `applied`, `order` (among those applied), `late`, `status`, `ended`, `ending` (open, answered,
    reset, abandoned), `fault`, `size` and `writes`: `[{"segment", "changes": [{"action", "kind",
    "keys"}]}]`; actions are include, remove, exclude and unexclude. Times are monotonic seconds;
    with `wall_offset` added, seconds since the epoch. `dropped` counts what was forgotten at the
    cap.
DELETE /simulator/log
    Forget the log.
POST /simulator/faults
    Order misbehaviour; the body has the fields of `Fault`; the reply is `{"id": n}`. For example
    `{"route": "patch_segment", "status": 503, "times": 3}`; a request that is applied four seconds
    late while the client is told nothing: `{"route": "patch_segment", "late_seconds": 4,
    "times": 1}`. A wait of `"release"` lasts until it is released.
GET /simulator/faults
    The faults in force, with how many requests they have `seen` and `befallen`.
POST /simulator/faults/{id}/release
    End the waits of a fault now: delays, and the time to late applications.
DELETE /simulator/faults/{id} and DELETE /simulator/faults
    Take one fault, or all, out of force; the latter also lets go of what waits.
PUT /simulator/limits
    Set the rate windows; the body has the fields of `Limits`, null for a family that is off.
PUT /simulator/approvals
    `{"required": true}`: changes of targets are refused with 403 "approval is required". `project`
    and `environment` name another environment than the simulator's own.
POST /simulator/environments
    `{"project", "environment", "client_side_id"}`: add one; the reply is its body in the API.
"""

from ldsync.demo.simulator.app import ROUTES, Simulator, serve
from ldsync.demo.simulator.faults import Answer, Apply, Fault
from ldsync.demo.simulator.journal import Ending, Exchange, Journal, MemberWrite
from ldsync.demo.simulator.limits import Limits
from ldsync.demo.simulator.membership import Action, Side
from ldsync.demo.simulator.refusal import Refusal
from ldsync.demo.simulator.segment import Segment

__all__ = [
    "ROUTES",
    "Action",
    "Answer",
    "Apply",
    "Ending",
    "Exchange",
    "Fault",
    "Journal",
    "Limits",
    "MemberWrite",
    "Refusal",
    "Segment",
    "Side",
    "Simulator",
    "serve",
]
