"""Looking at targets: one open session each, one question a second, and a probe when it breaks.

Comes in: ports to one target. Goes out: samples. Never: a second question while one is open, a
retry with refused credentials more than once a minute, or a verdict of its own.
"""
