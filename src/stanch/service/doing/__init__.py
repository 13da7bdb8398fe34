"""The work of the lanes: from samples to incidents, from what is due to pages and to acts.

Comes in: a sample or a claim. Goes out: events. Never: an order of its own; that is the pipeline's.
"""
