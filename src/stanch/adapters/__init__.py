"""The outside world: databases, hosts, channels; one module each.

Comes in: what a port of `model/ports` asks. Goes out: answers as values of `model`.
Never: decisions.
"""
