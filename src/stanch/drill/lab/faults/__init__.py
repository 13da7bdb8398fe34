"""The faults, one file a part of the server: how each is made, and nothing about who finds it."""
