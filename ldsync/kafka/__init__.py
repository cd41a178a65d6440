"""Reading from Kafka: the only importer of aiokafka.

`Source` hides the client and its habits. The rest of the package is what it is made of: `opening`
connects (`reach`, `security`), `rebalance`, `commits` and `starts` say what is ours and where it
begins, `trouble` weighs errors, `consumer` is aiokafka's with a few more answers. `lookup`
reads records to look at them, beside any group.
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
