"""One incident as a value: what its timeline adds up to, what is due next, what may be decided.

Comes in: recorded events, symptoms, people's commands, the moment. Goes out: events to append, and
work that is due. Never: the world, a clock, text for people.
"""
