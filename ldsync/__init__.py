"""ldsync keeps LaunchDarkly segments in step with Segment Engage audiences, from Kafka.

`docs/design.md` says what it promises and where things live; `ldsync.worker` shows the flow.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
