"""What `ldsync demo` and the tests stand on: a LaunchDarkly to write to, events, a broker."""
