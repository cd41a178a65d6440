"""The outbox: letters go in order, when they may, and belong to one epoch."""

import asyncio
import time

import pytest

from ldsync.kafka import outbox
from ldsync.kafka.letter import Letter
from ldsync.kafka.outbox import Outbox

LIMIT = 5.0


class Receipt:
    """Nothing that is counted here."""

    def release(self) -> None:
        """For the letter."""


def letter(value: bytes = b"") -> Letter:
    """A letter."""
    return Letter("dead", None, value, None, "bad_json", Receipt())


async def test_letters_go_in_order_and_count_until_they_are_done() -> None:
    """What was not written comes first the next time."""
    box = Outbox(lambda _: True, 60.0)
    first, second, third = letter(), letter(), letter()
    box.add(first)
    box.add(second)
    assert await box.next_round() == [first, second]
    box.add(third)
    box.done(first)
    box.give_back([second], box.epoch)
    assert (box.letters, box.bytes) == (2, second.size + third.size)
    assert await box.next_round() == [second, third]


async def test_a_letter_that_may_not_go_yet_goes_when_its_time_has_come() -> None:
    """Not before."""
    box = Outbox(lambda _: False, 0.2)
    started = time.monotonic()
    box.add(letter())
    async with asyncio.timeout(LIMIT):
        assert len(await box.next_round()) == 1
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize("why", ["hurry", "may go"])
async def test_a_letter_that_is_held_goes_when_it_may(why: str) -> None:
    """Because somebody waits for all of them, or because what held it is over."""
    allowed: list[bool] = []
    box = Outbox(lambda _: bool(allowed), 60.0)
    box.add(letter())
    going = asyncio.create_task(box.next_round())
    await asyncio.sleep(0)
    assert not going.done()
    waiting = asyncio.create_task(box.until(lambda: box.letters == 0, hurry=why == "hurry"))
    if why == "may go":
        allowed.append(True)
        box.look_again()
    async with asyncio.timeout(LIMIT):
        (found,) = await going
        box.done(found)
        await waiting


async def test_an_epoch_that_is_over_leaves_nothing_behind() -> None:
    """What waits is forgotten at once, and what is being written is not given back."""
    box = Outbox(lambda _: True, 60.0)
    box.add(letter())
    flying = await box.next_round()
    epoch = box.epoch
    box.add(letter())
    box.discard()
    assert box.letters == 1
    box.add(letter(b"new"))
    box.give_back(flying, epoch)
    assert [each.value for each in await box.next_round()] == [b"new"]
    assert box.letters == 1


async def test_a_round_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In letters and in bytes; one letter always fits."""
    monkeypatch.setattr(outbox, "ROUND_LETTERS", 3)
    monkeypatch.setattr(outbox, "ROUND_BYTES", 2000)
    box = Outbox(lambda _: True, 60.0)
    for size in (0, 0, 0, 0, 5000, 10):
        box.add(letter(b"x" * size))
    rounds = [len(await box.next_round()) for _ in range(3)]
    assert rounds == [3, 2, 1]
