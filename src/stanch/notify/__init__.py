"""Telling people: what a page or an update says, to whom it goes, and its hand-over to a channel.

Comes in: the story of an incident so far, the policy, a channel. Goes out: texts, deliveries, and
what is known about each hand-over. Never: a decision that somebody is due to be told, or storing.
"""
