"""How each trouble is done to a scene. Each ends by itself and leaves nothing behind."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from confluent_kafka import KafkaException

from ldsync.demo.simulator import Answer, Apply, Fault
from ldsync.demo.simulator.refusal import Refusal
from tests.chaos.cluster import PATIENCE
from tests.chaos.evidence import Deletion, StoreLoss
from tests.chaos.history import audience, user_key
from tests.chaos.mischief import Step, Trouble
from tests.chaos.plan import SETTLE
from tests.chaos.scene import Scene
from tests.support.eventually import eventually
from tests.support.ldsync_process import TOKEN

_SLOW = 0.8  # seconds; a client waits for 1.5
_WRITES = "P*"  # PATCH and POST; what is only read does not matter for what is tested here


async def befall(scene: Scene, step: Step) -> None:
    """Let a trouble befall a scene; returns when it is over."""
    await _HOW[step.trouble](scene, step)


async def _kill(scene: Scene, step: Step) -> None:
    replica = scene.replicas[step.target]
    async with replica.turn:
        await replica.kill()
        await asyncio.sleep(0.2)
        replica.start()


async def _kill_all(scene: Scene, _step: Step) -> None:
    await asyncio.gather(
        *(_kill(scene, Step(0, Trouble.KILL, each.slot)) for each in scene.replicas)
    )


async def _term(scene: Scene, step: Step) -> None:
    replica = scene.replicas[step.target]
    async with replica.turn:
        await replica.end(hurry=step.seconds if step.trouble is Trouble.HURRY else None)
        replica.start()


async def _stand_still(scene: Scene, step: Step) -> None:
    replica = scene.replicas[step.target]
    async with replica.turn:
        await replica.stand_still(step.seconds)


async def _broker(scene: Scene, step: Step) -> None:
    node = scene.cluster.nodes[step.target]
    await asyncio.to_thread(node.kill if step.trouble is Trouble.BROKER_KILL else node.stop)
    await asyncio.sleep(step.seconds)
    await asyncio.to_thread(node.start, PATIENCE)


async def _leader_move(scene: Scene, step: Step) -> None:
    """What the second broker led the first leads while it is away, and not any more then."""
    node = scene.cluster.nodes[1]
    await asyncio.to_thread(node.stop)
    await asyncio.sleep(step.seconds)
    await asyncio.to_thread(node.start, PATIENCE)
    await asyncio.to_thread(scene.cluster.admin.prefer_first_replicas)


async def _redis(scene: Scene, step: Step) -> None:
    redis = scene.redis
    assert redis is not None
    if step.trouble is Trouble.REDIS_FREEZE:
        with redis.frozen():
            await asyncio.sleep(step.seconds)
    elif step.trouble is Trouble.REDIS_FLUSH:
        await asyncio.to_thread(redis.client.flushall)
        scene.losses.append(StoreLoss("flush", time.time()))
    else:
        await asyncio.to_thread(redis.restart)
        scene.losses.append(StoreLoss("restart", time.time()))


async def _fault(scene: Scene, fault: Fault, seconds: float) -> None:
    number = scene.simulator.faults.add(fault)
    await asyncio.sleep(seconds)
    scene.simulator.faults.remove(number)


async def _late(scene: Scene, step: Step) -> None:
    """By a second less than the settle time at the most: what is slow here is not LaunchDarkly."""
    late = SETTLE - 1.0 if step.how else SETTLE / 3
    await _fault(scene, Fault(route=f"{_WRITES} /*", late_seconds=late), step.seconds)


async def _lost_reply(scene: Scene, step: Step) -> None:
    answer = Answer.RESET if step.how else Answer.HANG
    fault = Fault(route=f"{_WRITES} /*", answer=answer, apply=Apply.NOW)
    await _fault(scene, fault, step.seconds)


async def _hang(scene: Scene, step: Step) -> None:
    await _fault(scene, Fault(answer=Answer.HANG), step.seconds)


async def _slow(scene: Scene, step: Step) -> None:
    before, after = (_SLOW, 0.0) if step.how else (0.0, _SLOW)
    fault = Fault(route=f"{_WRITES} /*", delay_seconds=before, answer_delay_seconds=after)
    await _fault(scene, fault, step.seconds)


async def _letters_refused(scene: Scene, step: Step) -> None:
    """As with too few brokers in step, of which the topic asks for more than there are."""
    admin, topic = scene.cluster.admin, f"{scene.topic}.dead-letters"

    async def is_there() -> bool:
        return topic in await asyncio.to_thread(admin.topics)

    await eventually(is_there, "the first process has made the topic of dead letters")
    await asyncio.to_thread(admin.set_topic_config, topic, "min.insync.replicas", "3")
    await asyncio.sleep(step.seconds)
    await asyncio.to_thread(admin.set_topic_config, topic, "min.insync.replicas", "1")


async def _storm(scene: Scene, step: Step) -> None:
    await _fault(scene, Fault(status=429, reset_seconds=0.7), step.seconds)


async def _errors(scene: Scene, step: Step) -> None:
    await _fault(scene, Fault(status=503 if step.how else 500), step.seconds)


async def _approvals(scene: Scene, step: Step) -> None:
    scene.simulator.environment.approvals_required = True
    await asyncio.sleep(step.seconds)
    scene.simulator.environment.approvals_required = False


async def _token(scene: Scene, step: Step) -> None:
    scene.simulator.token = f"{TOKEN}-another"
    await asyncio.sleep(step.seconds)
    scene.simulator.token = TOKEN


async def _poison(scene: Scene, step: Step) -> None:
    fault = Fault(route=f"{_WRITES} /*", member=user_key(step.target), status=400)
    await _fault(scene, fault, step.seconds)


async def _refuse_segment(scene: Scene, step: Step) -> None:
    """The role forbids it, or wants an approval: others are written meanwhile."""
    message = "approval is required for this" if step.how else "not for this role"
    fault = Fault(route=f"{_WRITES} /*", segment=audience(step.target), status=403, message=message)
    await _fault(scene, fault, step.seconds)


async def _delete_segment(scene: Scene, step: Step) -> None:
    key = audience(step.target)
    with contextlib.suppress(Refusal):  # it is not there yet
        scene.simulator.environment.delete_segment(key)
        scene.deletions.append(Deletion(key, time.time()))


async def _cut_launchdarkly(scene: Scene, step: Step) -> None:
    cable = scene.ground.cables[step.target]
    cable.cut(silent=step.how)
    await asyncio.sleep(step.seconds)
    cable.mend()


async def _cut_kafka(scene: Scene, step: Step) -> None:
    cables = scene.cluster.cables[step.target]
    for cable in cables:
        cable.cut(silent=step.how)
    await asyncio.sleep(step.seconds)
    for cable in cables:
        cable.mend()


async def _partitions(scene: Scene) -> list[int]:
    try:
        return await asyncio.to_thread(scene.cluster.admin.partitions, scene.topic)
    except KafkaException:
        return []


async def _add_partitions(scene: Scene, _step: Step) -> None:
    total = scene.plan.more_partitions
    admin = scene.cluster.admin
    while len(await _partitions(scene)) < total:  # brokers may be away
        with contextlib.suppress(KafkaException, TimeoutError):
            await asyncio.to_thread(admin.add_partitions, scene.topic, total)
    scene.feeder.known = total


_HOW: dict[Trouble, Callable[[Scene, Step], Awaitable[None]]] = {
    Trouble.KILL: _kill,
    Trouble.TERM: _term,
    Trouble.HURRY: _term,
    Trouble.ZOMBIE: _stand_still,
    Trouble.FREEZE: _stand_still,
    Trouble.KILL_ALL: _kill_all,
    Trouble.BROKER_KILL: _broker,
    Trouble.BROKER_STOP: _broker,
    Trouble.LEADER_MOVE: _leader_move,
    Trouble.REDIS_RESTART: _redis,
    Trouble.REDIS_FLUSH: _redis,
    Trouble.REDIS_FREEZE: _redis,
    Trouble.LATE: _late,
    Trouble.LOST_REPLY: _lost_reply,
    Trouble.HANG: _hang,
    Trouble.CUT_LAUNCHDARKLY: _cut_launchdarkly,
    Trouble.CUT_KAFKA: _cut_kafka,
    Trouble.SLOW: _slow,
    Trouble.LETTERS_REFUSED: _letters_refused,
    Trouble.STORM: _storm,
    Trouble.ERRORS: _errors,
    Trouble.APPROVALS: _approvals,
    Trouble.TOKEN: _token,
    Trouble.POISON: _poison,
    Trouble.REFUSE_SEGMENT: _refuse_segment,
    Trouble.DELETE_SEGMENT: _delete_segment,
    Trouble.ADD_PARTITIONS: _add_partitions,
}
