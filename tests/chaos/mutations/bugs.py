"""The bugs: each leaves out one thing that a promise or a rule of docs/design.md needs.

The mischief of each is what its omission needs to be seen at all; the judge alone, from outside,
decides whether it is. `NOT_TRIED` says of what is not there why nothing would be seen.
"""

from typing import Any, Final

from tests.chaos.evidence import Store
from tests.chaos.mischief import Step, Trouble
from tests.chaos.mutations.bug import Bug, Edit

# One process, partitions side by side, events in disorder.
_ONE: Final[dict[str, Any]] = {
    "brokers": 1,
    "replicas": 1,
    "partitions": 3,
    "more_partitions": 3,
    "keyed": False,
    "disordered": True,
    "store": Store.MEMORY,
    "write_path": "standard",
    "exit_action": "remove",
    "batch_seconds": 0.5,
    "batch_size": 200,
    "tight": False,
    "transactions": False,
    "compacted": False,
    "members": 60,
    "audiences": 3,
    "events": 3000,
    "clean": True,
    "park_after": None,
}
_KEYED: Final = _ONE | {"replicas": 2, "partitions": 4, "more_partitions": 4, "keyed": True}
# When the third one goes, partitions move between the two that stay, at once.
_MOVING: Final = _KEYED | {"replicas": 3}
_SHARED: Final = (
    _ONE
    | {"replicas": 2, "partitions": 4, "more_partitions": 4}
    | {
        "store": Store.REDIS,
        "members": 20,
    }
)
# One segment is refused, and what waits for it is parked.
_PARKING: Final = _ONE | {"park_after": 1.0}
_REFUSAL: Final = Step(4.0, Trouble.REFUSE_SEGMENT, seconds=10.0)


def _each(trouble: Trouble, *at: float, **how: Any) -> tuple[Step, ...]:
    return tuple(Step(moment, trouble, **how) for moment in at)


# A replica leaves while requests have no answer, and follows itself: others that hand over would
# wait for answers of their own until the settle time is over.
_UNANSWERED: Final = (
    *_each(Trouble.LATE, 4.0, 12.0, seconds=6.5),
    *_each(Trouble.TERM, 6.0, 14.0),
)

PROMISES: Final = (
    Bug(
        "commit-position",
        "P1",
        "what was handed out is committed, not what the ledger says is settled",
        (
            Edit(
                "ldsync/kafka/offsets.py",
                "for partition, offset in self._ledger.committable().items()",
                "for partition, offset in self._positions().items()",
            ),
        ),
        frozenset({"P1"}),
        _ONE,
        _each(Trouble.ERRORS, 6.0, seconds=4.0),
    ),
    Bug(
        "receipt-lost",
        "P1",
        "a record that is coalesced into a change that waits does not hold its chunk",
        (
            Edit(
                "ldsync/sync/buffer.py",
                "                lane.pages[-1].hold(chunk)\n",
                "",
            ),
        ),
        frozenset({"P1"}),
        _ONE | {"members": 20},
        _each(Trouble.ERRORS, 6.0, seconds=4.0),
    ),
    Bug(
        "give-back-dropped",
        "P1",
        "a batch whose attempt failed is let go of, and not given back to the buffer",
        (
            Edit(
                "ldsync/worker.py",
                "        self._buffer.give_back(\n"
                "            batch, time.monotonic(), not_before=not_before, "
                "blocked_until=blocked_until\n"
                "        )\n",
                "        self._buffer.settle(batch, time.monotonic())\n",
            ),
        ),
        frozenset({"P1", "P2"}),
        _ONE,
        _each(Trouble.ERRORS, 6.0, 18.0, seconds=3.0),
    ),
    Bug(
        "letter-not-awaited",
        "P1",
        "an invalid record does not hold its chunk until its dead letter was acknowledged",
        (
            Edit(
                "ldsync/kafka/dead_letters.py",
                "            chunk.hold()\n            self.post(letter_of(record, to, "
                "verdict.reason, chunk, detail=detail))",
                "            nobody = __import__('types').SimpleNamespace(release=lambda: None)\n"
                "            self.post(letter_of(record, to, verdict.reason, nobody, "
                "detail=detail))",
            ),
        ),
        frozenset({"P1"}),
        _ONE,
        _each(Trouble.LETTERS_REFUSED, 8.0, seconds=6.0),
    ),
    Bug(
        "versions-ignored",
        "P2",
        "of two changes of a member the one that came later wins, in the buffer and in the store",
        (
            Edit(
                "ldsync/sync/buffer.py",
                "newer = stamp >= known or stamp[:-1] == known[:-1]",
                "newer = True",
            ),
            Edit(
                "ldsync/versions/memory.py",
                "if not supersedes(changes[member], known[member]):",
                "if False:",
            ),
        ),
        frozenset({"P2"}),
        _ONE,
    ),
    Bug(
        "members-not-held-back",
        "P4",
        "members in flight are taken again",
        (
            Edit(
                "ldsync/sync/lane.py",
                "held = [*self._flying, *(members for _, members in self._blocked)]",
                "held = [members for _, members in self._blocked]",
            ),
        ),
        frozenset({"P4"}),
        _ONE | {"write_path": "big", "batch_seconds": 0.2, "members": 20},
        _each(Trouble.SLOW, 5.0, seconds=8.0),
    ),
    Bug(
        "two-patches",
        "P4",
        "a standard segment may have several writes at a time",
        (
            Edit(
                "ldsync/sync/lane.py",
                "if len(self._flying) >= (1 if self.failures else limits.writes_per_segment):",
                "if len(self._flying) >= 4:",
            ),
            Edit(
                "ldsync/launchdarkly/writers/standard.py",
                "async with self._locks.setdefault(segment, asyncio.Lock()):",
                "async with asyncio.Lock():",
            ),
        ),
        frozenset({"P4"}),
        _ONE | {"batch_seconds": 0.2, "batch_size": 20},
        _each(Trouble.SLOW, 5.0, seconds=8.0),
    ),
    Bug(
        "epoch-of-records-unchecked",
        "P6",
        "a partition that comes back goes on with the account of the epoch before",
        (
            Edit(
                "ldsync/sync/ledger.py",
                "        self.revoke(partition)\n"
                "        account = self._accounts[partition] = Account(partition)\n"
                "        return account\n",
                "        return self._accounts.setdefault(partition, Account(partition))\n",
            ),
            Edit(
                "ldsync/sync/ledger.py",
                "        account = self._accounts.pop(partition, None)\n"
                "        if account is not None:\n"
                "            account.close()\n",
                "        return\n",
            ),
        ),
        frozenset({"P1", "P7", "life"}),
        _KEYED,
        (*_each(Trouble.HANG, 4.0, 12.0, seconds=6.0), *_each(Trouble.TERM, 5.0, 13.0, target=1)),
    ),
    Bug(
        "coalesced-uncounted",
        "P7",
        "records that are coalesced are not counted",
        (
            Edit(
                "ldsync/sync/buffer.py",
                "        self._tallies.end(COALESCED, coalesced)\n",
                "",
            ),
        ),
        frozenset({"P7"}),
        _ONE,
    ),
)

RULES: Final = (
    Bug(
        "no-settle-time",
        "R1",
        "members of a request without an answer are written again at once",
        (
            Edit(
                "ldsync/sync/buffer.py", "        if blocked_until > now:\n", "        if False:\n"
            ),
        ),
        frozenset({"R1"}),
        _ONE,
        _each(Trouble.LATE, 5.0, 12.0, seconds=4.0, how=True),
    ),
    Bug(
        "no-take-over-wait",
        "R2",
        "a new owner writes at once",
        (
            Edit(
                "ldsync/sync/gate.py",
                "self._opens_at = now if clean else self._assigned_at + self._take_over_seconds",
                "self._opens_at = now",
            ),
        ),
        frozenset({"R2"}),
        _ONE,
        _UNANSWERED,
    ),
    Bug(
        "always-clean",
        "R2",
        "who leaves says that nothing is on its way, also when something is",
        (
            Edit(
                "ldsync/worker.py",
                "clean = self.gate.taken_over(now) and self._buffer.quiet(now)",
                "clean = True",
            ),
        ),
        frozenset({"R2"}),
        _ONE,
        _UNANSWERED,
    ),
    Bug(
        "revoked-kept",
        "R3",
        "what is left of an epoch that is over stays in the buffer, and is written later",
        (
            Edit(
                "ldsync/worker.py",
                "        forgotten = self._buffer.discard(time.monotonic())\n",
                "        forgotten: list[tuple[Segment, dict[str, str]]] = []\n",
            ),
        ),
        frozenset({"P2", "P7", "R2"}),
        _MOVING | {"members": 150, "events": 1500},
        (Step(6.0, Trouble.TERM, target=2), Step(5.0, Trouble.ERRORS, seconds=11.0)),
    ),
    Bug(
        "no-lease",
        "R4",
        "a process writes whether or not it surely is a member",
        (
            Edit(
                "ldsync/sync/lease.py",
                "        return now < self.until\n",
                "        return True\n",
            ),
        ),
        frozenset({"R4", "P2"}),
        _KEYED | {"batch_seconds": 2.0, "members": 20},
        (
            *_each(Trouble.ZOMBIE, 3.0, target=0, seconds=9.0),
            *_each(Trouble.ZOMBIE, 13.0, target=1, seconds=9.0),
        ),
    ),
    Bug(
        "no-warm-up",
        "R5",
        "history is not read at an assignment",
        (
            Edit(
                "ldsync/kafka/take_over.py",
                "if self._warm_up is not None and partitions:",
                "if False:",
            ),
        ),
        frozenset({"P2"}),
        _ONE | {"events": 1500},
        _each(Trouble.TERM, 12.0, 17.0),
    ),
    Bug(
        "stale-dropped",
        "R6",
        "a change that is older than what is marked is dropped, and not replaced by it",
        (
            Edit(
                "ldsync/attempt.py",
                "        written = changes\n",
                "        written = {m: s for m, s in changes.items() if m not in stale}\n"
                "        if not written:\n"
                "            return Attempt(Delivered(), stale)\n",
            ),
        ),
        frozenset({"P2"}),
        _SHARED | {"write_path": "big", "batch_seconds": 0.2},
        (
            Step(19.9, Trouble.LATE, seconds=0.6, how=True),
            Step(20.8, Trouble.KILL),
        ),
    ),
    Bug(
        "not-read-again",
        "R7",
        "the marks are not read again after the answer",
        (
            Edit(
                "ldsync/attempt.py",
                "again = await versions.confirm(segment, written)",
                "again: Collection[str] = ()",
            ),
        ),
        frozenset({"P2"}),
        # Members with few changes, of which many have their last two soon after one another.
        _SHARED | {"write_path": "big", "batch_seconds": 0.2, "members": 150, "audiences": 5},
        _each(Trouble.SLOW, *range(4, 21), seconds=0.25, how=True),
    ),
    Bug(
        "early-settlement",
        "R8",
        "an older change of another partition is settled before what superseded it is written",
        (
            Edit(
                "ldsync/sync/buffer.py",
                "                lane.pages[-1].hold(chunk)\n",
                "                if newer:\n                    lane.pages[-1].hold(chunk)\n",
            ),
        ),
        frozenset({"P1"}),
        # So few records that each is a chunk of its own, and others do not hold the partition.
        _ONE | {"partitions": 4, "more_partitions": 4, "members": 2, "audiences": 1, "events": 200},
        _each(Trouble.ERRORS, 5.0, 10.0, 15.0, seconds=4.0),
    ),
)

_REPLAYS: Final = (
    Bug(
        "replayed-as-new",
        "R9",
        "what was parked is ordered by when it is replayed, and not by its own time",
        (
            Edit(
                "ldsync/replaying.py",
                "            for other in (self._later.get(member), known.get(member), "
                "waiting.get(member)):\n"
                "                if other is not None and supersedes(other, change.stamp):\n"
                "                    change = change._replace(stamp=other)\n",
                '            now = time.strftime("%Y-%m-%dT%H:%M:%S.999Z", time.gmtime())\n'
                "            change = change._replace(stamp=now + now + change.stamp[-1])\n",
            ),
        ),
        frozenset({"P2"}),
        _PARKING,
        (_REFUSAL,),
    ),
    Bug(
        "replay-untold",
        "R9",
        "nobody writes down what was replayed: the next owner replays it again, and for ever",
        (
            Edit(
                "ldsync/replays.py",
                "                self._dead_letters.post(marker)\n",
                "                pass\n",
            ),
        ),
        frozenset({"R9"}),
        _PARKING,
        (_REFUSAL,),
    ),
    Bug(
        "parking-forgotten",
        "R9",
        "what was parked before an assignment is not looked for",
        (
            Edit(
                "ldsync/recalling.py",
                "        if self._dead_letters.recalls:\n",
                "        if False:\n",
            ),
        ),
        frozenset({"R9", "life"}),
        _PARKING,
        (_REFUSAL, Step(10.0, Trouble.KILL)),
    ),
)

BUGS: Final = PROMISES + RULES + _REPLAYS

NOT_TRIED: Final = {
    "P6": "that batches of an epoch that is over count as over: without the check such a batch "
    "meets a lane that was emptied and an account that is closed; "
    "tests/unit/test_buffer_epochs.py shows it",
}
"""What no run can show, by the promise or rule, and why."""
