"""Wiring: the order of stages, the engine that does what is due, the supervisor around it.

Comes in: a policy. Goes out: a running responder. Never: a decision of its own; those are made in
the rooms below, and `pipeline.py` alone says in which order.
"""
