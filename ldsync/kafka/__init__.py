"""Reading from Kafka: the only importer of aiokafka.

`Source` hides the client and its habits. It is made of parts: `opening` connects (`reach`,
`security`), `rebalance`, `commits` and `starts` say what is ours and where it begins, `take_over`
and `warm_up` (with `horizon` and `beside`) what comes before its live records, `fetching` gets
them, in `portions`, `static` looks after a member with an instance id, `trouble` weighs errors,
`consumer` is aiokafka's with a few more answers. `lookup` reads records to look at them, beside any
group.

`DeadLetters` keeps what cannot be applied: a `letter` waits in the `outbox` and is written by
`letter_writer` to one of the `letter_topics`; `guard` judges whole topics, and `rereading` finds
the records of refused changes by a `scan`.
"""

from ldsync.kafka.commits import CommitOutcome
from ldsync.kafka.errors import (
    RecordMissing,
    SourceError,
    SourceFailed,
    SourceMisconfigured,
    SourceUnavailable,
)
from ldsync.kafka.lookup import read_record, sample
from ldsync.kafka.rebalance import Listener
from ldsync.kafka.source import Source

__all__ = [
    "CommitOutcome",
    "Listener",
    "RecordMissing",
    "Source",
    "SourceError",
    "SourceFailed",
    "SourceMisconfigured",
    "SourceUnavailable",
    "read_record",
    "sample",
]
