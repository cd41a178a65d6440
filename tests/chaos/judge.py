"""The judge of a chaos run: knows what was recorded (`evidence`), and nothing of ldsync's code.

It shares no code with what it judges, the demo included, and believes only what others say: the
brokers' logs (events, dead letters, commits), the simulator's journal, the kernel (memory, exit
codes). Of ldsync it takes one word, the page of metrics, and only to see whether it contradicts
itself (P7).

| module | judges |
| --- | --- |
| `final_state` | P2: the end, where it is promised |
| `passing` | P1: commits, and P7: that in the end all is committed |
| `letters` | P7: what is invalid is a dead letter, byte for byte; R9: what was parked is replayed |
| `writing` | P4, R1, R2, R4: what the processes sent, and when |
| `processes` | P3, P7, exit codes, and that nothing is stuck |

P6 is not seen by itself: what a process writes after it has lost a partition is seen by R4 and P2,
what it commits by P1. P5 is: a run in which one segment stops the others does not come to rest. P8
is for the tests that search the output.

"""

import sys
from pathlib import Path

from tests.chaos.archive import load
from tests.chaos.evidence import Evidence
from tests.chaos.final_state import judge_final_state
from tests.chaos.letters import Letters, judge_letters
from tests.chaos.passing import judge_commits
from tests.chaos.processes import judge_processes
from tests.chaos.reading import Topic
from tests.chaos.verdict import Verdict
from tests.chaos.writing import judge_writes


def judge(evidence: Evidence) -> Verdict:
    """Judge a run.

    Raises:
        ValueError: The topic or that of the dead letters has what no run writes.
    """
    verdict = Verdict()
    topic = Topic(evidence.records)
    letters = Letters(evidence.letters)
    judge_processes(evidence, verdict)
    judge_final_state(evidence, topic, letters, verdict)
    judge_commits(evidence, topic, letters, verdict)
    judge_letters(evidence, topic, letters, verdict)
    judge_writes(evidence, topic, verdict)
    return verdict


def main(directories: list[str]) -> int:
    """Judge runs that were kept, again; the exit code is 1 if anything is wrong."""
    failed = False
    for directory in directories:
        verdict = judge(load(Path(directory)))
        print(f"{directory}: {len(verdict.violations)} violations; {dict(verdict.looked_at)}")
        for violation in verdict.violations:
            print(f"  {violation}")
        failed = failed or bool(verdict.violations)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
