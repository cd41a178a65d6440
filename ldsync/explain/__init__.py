"""Looking at events without writing anything: what `ldsync explain` and `check-events` stand on.

`inputs` says what one event is in a file, `requests` what would be sent for a change, `document`
puts an explanation into JSON, and `survey` sums up many events. How a record is decoded, and why,
is the business of `ldsync.engage`.
"""
