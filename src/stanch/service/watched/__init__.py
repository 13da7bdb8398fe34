"""A watched target at run time: its sessions, its machine, its manager, and what was noted in life.

Comes in: a target of the policy. Goes out: samples, diagnoses, a world to act in. Never: an event.
"""
