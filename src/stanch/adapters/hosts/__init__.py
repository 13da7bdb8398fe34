"""The machines that servers run on: what the operating system says, without asking the server.

Comes in: a data directory. Goes out: the raw readings of `model.ports.host`. Never: a change to
anything on the machine, or a guess where a right is missing.
"""
