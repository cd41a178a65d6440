"""Of the processes: memory (P3), records explained (P7), exit codes, and that none is stuck."""

from tests.chaos.evidence import End, Evidence, Life
from tests.chaos.verdict import Verdict

STOPPING = 30.0  # seconds that a stop may take: drain, commit, leaving, closing

_SIGKILL, _SIGINT, _SIGTERM = 137, 130, 143
_OUTCOMES = "ldsync_records_total"
_CONSUMED = "ldsync_records_consumed_total"
_PENDING = "ldsync_records_pending"


def judge_processes(evidence: Evidence, verdict: Verdict) -> None:
    """Judge every process by itself, and whether the run came to rest."""
    if evidence.quiet.at is None:
        verdict.blame("life", f"the run does not come to rest: {evidence.quiet.why}")
    heard_of = {exchange.life for exchange in evidence.exchanges}
    for life in evidence.lives:
        verdict.looked_at["lives"] += 1
        _judge_memory(life, verdict)
        _judge_explained(life, verdict)
        _judge_end(life, verdict, began=bool(life.scrape) or life.number in heard_of)


def _judge_memory(life: Life, verdict: Verdict) -> None:
    if life.peak_rss_bytes is None or life.rss_limit_bytes is None:
        return
    verdict.looked_at["P3 lives"] += 1
    if life.peak_rss_bytes > life.rss_limit_bytes:
        peak, limit = (each / 2**20 for each in (life.peak_rss_bytes, life.rss_limit_bytes))
        verdict.blame("P3", f"process {life.number} had {peak:.0f} MiB of at most {limit:.0f}")


def _judge_explained(life: Life, verdict: Verdict) -> None:
    """Consumed is the sum of all outcomes and of what is pending, and none of them is negative."""
    if not life.scrape:
        return
    verdict.looked_at["P7 scrapes"] += 1
    totals = dict.fromkeys((_CONSUMED, _OUTCOMES, _PENDING), 0.0)
    for sample in life.scrape:
        if sample.name in totals:
            totals[sample.name] += sample.value
            if sample.value < 0:
                what = f"{sample.name}{dict(sample.labels)} of process {life.number}"
                verdict.blame("P7", f"{what} is {sample.value:g}", life.scraped)
    consumed, told, pending = totals[_CONSUMED], totals[_OUTCOMES], totals[_PENDING]
    if consumed != told + pending:
        verdict.blame(
            "P7",
            f"process {life.number} consumed {consumed:g} records, of which {told:g} have an "
            f"outcome and {pending:g} are pending",
            life.scraped,
        )


def _judge_end(life: Life, verdict: Verdict, *, began: bool) -> None:
    name = f"process {life.number}"
    if life.ended is None:
        if life.asked is not None:
            verdict.blame("life", f"{name} was asked to end, and runs still", life.asked)
        return
    if life.exit_code not in _expected(life, began=began):
        how = "by itself" if life.end is None else life.end.value
        verdict.blame("life", f"{name} ended ({how}) with {life.exit_code}", life.ended)
    if life.end is End.TERMINATED and life.asked is not None:
        froze = sum(
            (freeze.until or life.ended) - max(freeze.since, life.asked)
            for freeze in life.freezes
            if (freeze.until or life.ended) > life.asked
        )
        took = life.ended - life.asked - froze
        if took > STOPPING:
            verdict.blame("life", f"{name} took {took:.0f} s to end", life.ended)


def _expected(life: Life, *, began: bool) -> set[int]:
    """The exit codes that are right (docs/design.md, "Life").

    One of which nothing was seen may still be importing its modules: Python ends it by the signal.
    """
    codes = set(life.tolerated)
    if life.end is End.KILLED:
        codes.add(_SIGKILL)
    elif life.end is End.TERMINATED:
        codes.add(0)
        if not began:
            codes.add(_SIGTERM)
    elif life.end is End.HURRIED:
        codes |= {0, _SIGINT, _SIGTERM}
    return codes
