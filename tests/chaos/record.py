"""Collects what a run left behind: the evidence that the judge judges by."""

import asyncio

from ldsync.demo.simulator.membership import Side
from tests.chaos.evidence import (
    Action,
    Evidence,
    Exchange,
    MemberWrite,
    Placed,
    Quiet,
    Setting,
)
from tests.chaos.mischief import Trouble
from tests.chaos.plan import SETTLE, Plan
from tests.chaos.scene import Scene, number_of
from tests.support.offsets_topic import OFFSETS_TOPIC, commits

RSS_LIMIT = 200 * 2**20  # bytes; an idle process has some 90 MB
_UNREACHABLE = 69  # the exit code of a start that did not reach Kafka


async def evidence(scene: Scene, quiet: Quiet, slack: float) -> Evidence:
    """The evidence of a run whose processes have ended. `slack`: seconds, of clocks that drift."""
    admin, topic = scene.cluster.admin, scene.topic
    letters = f"{topic}.dead-letters"
    topics = await asyncio.to_thread(admin.topics)
    kept = await asyncio.to_thread(admin.read, OFFSETS_TOPIC)
    tolerated = _tolerated(scene.plan)
    return Evidence(
        setting=_setting(scene, letters if letters in topics else None, slack),
        quiet=quiet,
        records=await scene.records(topic),
        letters=await scene.letters(),
        commits=tuple(commits(kept, scene.group, topic)),
        exchanges=_exchanges(scene),
        membership=_membership(scene),
        deletions=tuple(scene.deletions),
        store_losses=tuple(scene.losses),
        lives=tuple(living.told(RSS_LIMIT, tolerated) for living in scene.lives),
    )


def _tolerated(plan: Plan) -> tuple[int, ...]:
    """A start may meet with brokers that are away."""
    away = {Trouble.BROKER_KILL, Trouble.BROKER_STOP, Trouble.LEADER_MOVE, Trouble.CUT_KAFKA}
    return (_UNREACHABLE,) if any(step.trouble in away for step in plan.steps) else ()


def _setting(scene: Scene, letters: str | None, slack: float) -> Setting:
    plan = scene.plan
    return Setting(
        seed=plan.seed,
        topic=scene.topic,
        keyed=plan.keyed,
        replicas=plan.replicas,
        store=plan.store,
        write_path=plan.write_path,
        exit_action=plan.exit_action,
        dead_letter_topic=letters,
        settle_seconds=SETTLE,
        slack_seconds=slack,
        plan=f"{plan.combination}: {' '.join(map(str, plan.steps))}",
    )


def _exchanges(scene: Scene) -> tuple[Exchange, ...]:
    log = scene.simulator.log
    assert log.dropped == 0, "the journal is not complete"

    def wall(moment: float | None) -> float | None:
        return None if moment is None else moment + log.wall_offset

    return tuple(
        Exchange(
            sequence=each.sequence,
            life=number_of(each.headers["host"]),
            route=each.route,
            path=each.path,
            arrived=each.arrived + log.wall_offset,
            applied=wall(each.applied),
            order=each.order,
            late=each.late,
            status=each.status,
            ended=wall(each.ended),
            ending=each.ending.value,
            writes=tuple(
                MemberWrite(write.segment, change.kind, key, Action(change.action.value))
                for write in each.writes
                for change in write.changes
                for key in change.keys
            ),
        )
        for each in log.exchanges
    )


def _membership(scene: Scene) -> tuple[Placed, ...]:
    return tuple(
        Placed(segment.key, kind, key, side.value)
        for segment in scene.simulator.segments.values()
        for side in Side
        for kind in segment.membership.kinds(side)
        for key in segment.membership.keys(side, kind)
    )
