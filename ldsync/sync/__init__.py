"""What must be written: changes, the buffer they wait in and the ledger of what they came from.

Pure: no clock, loop, I/O, log or metric. Callers pass `now` (monotonic seconds) and random numbers.
"""
