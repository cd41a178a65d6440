"""What a Segment Engage event says: from the bytes of a record to a change, or to a verdict.

Pure: standard library and orjson only.
"""
