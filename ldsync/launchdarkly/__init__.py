"""Everything that speaks to LaunchDarkly. What leaves this room is an `Outcome`, never HTTP.

`client` sends one request, `reply` is what came of it, `outcome` says what that means, `pacing`
when the next request may start, `environment` whether there is something to write to, and
`writers` put members into segments.
"""
