"""`ldsync check`: is everything there that `ldsync run` will need? Nothing is changed by asking.

`finding` is one answer, `kafka` and `launchdarkly` ask, `report` puts the answers together. A part
of the program that needs something outside adds a function from the settings to findings to
`report.CHECKS`.
"""
