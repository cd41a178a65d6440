"""Reading from Kafka: the only importer of aiokafka.

`Source` hides the client and its habits. The rest of the package is what it is made of: `opening`
connects (`reach`, `security`), `rebalance`, `commits` and `starts` say what is ours and where it
begins, `take_over` and `warm_up` (with `horizon` and `beside`) what comes before its live records,
`fetching` gets them, `trouble` weighs errors, `consumer` is aiokafka's with a few more answers.
"""

from ldsync.kafka.commits import CommitOutcome
from ldsync.kafka.errors import SourceError, SourceFailed, SourceMisconfigured, SourceUnavailable
from ldsync.kafka.rebalance import Listener
from ldsync.kafka.source import Source

__all__ = [
    "CommitOutcome",
    "Listener",
    "Source",
    "SourceError",
    "SourceFailed",
    "SourceMisconfigured",
    "SourceUnavailable",
]
