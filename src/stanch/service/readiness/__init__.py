"""What Stanch can do for a target tonight: tried and told before it is needed.

Comes in: a policy. Goes out: rows of a table, findings, SQL to grant what lacks. Never: a change.
"""
