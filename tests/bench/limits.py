"""The limits that no consumer in Python can pass, measured: `python -m tests.bench.limits`.

Arguments: `raw` (nothing but `getmany`) or `parse` (and `orjson.loads` of every value), the
brokers, the topic. Prints one line of JSON: events, wall and CPU seconds from the first poll to the
last record, the CPU seconds of the start before that, and the peak memory of the process.
"""

import asyncio
import json
import logging
import os
import sys
import time
import uuid

import orjson
from aiokafka import AIOKafkaConsumer

from tests.bench.usage import usage


async def consume(what: str, bootstrap_servers: str, topic: str) -> dict[str, float]:
    """Read the topic once from its beginning to its end.

    The client is set up as ldsync sets it up: only what is done with the records differs.
    """
    # The first group of a new broker finds its coordinator only after a while, which is no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        group_id=f"limit-{uuid.uuid4().hex}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_bytes=16 * 1024 * 1024,
        max_partition_fetch_bytes=1024 * 1024,
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        left = sum(ends.values())
        events = 0
        began, began_cpu = time.monotonic(), time.process_time()
        while events < left:
            for records in (await consumer.getmany(timeout_ms=1000, max_records=5000)).values():
                if what == "parse":
                    for record in records:
                        orjson.loads(record.value)
                events += len(records)
        seconds, cpu = time.monotonic() - began, time.process_time() - began_cpu
    finally:
        await consumer.stop()
    whole = usage(os.getpid())
    return {
        "events": events,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "start_cpu_seconds": began_cpu,
        "peak_bytes": whole.peak_bytes,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(consume(*sys.argv[1:]))))
