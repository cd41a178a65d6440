"""The ways to write membership. A writer takes one batch of one segment and gives one outcome."""
