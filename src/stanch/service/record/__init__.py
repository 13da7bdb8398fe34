"""What the service holds of the record: incidents at their head, policies by hash, standing.

Comes in: events to append. Goes out: incidents folded at their head. Never: a word to anybody.
"""
