"""Everything that speaks to LaunchDarkly. What leaves this room is an `Outcome`, never HTTP.

`transport` is the wire, `client` sends one request with the `token`, `reply` is what came of it and
`outcome` says what that means. `pacing` says when the next request may start, from a `rate_window`
for each scope, the `server_clock` and the `concurrency`. `environment` is where the segments are;
`resolution` finds it and `watch` keeps it. `connection` puts these together, and `writers` put
members into segments.
"""
