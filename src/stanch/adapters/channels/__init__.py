"""Ways to reach people: mail, signed webhook, terminal.

Comes in: one message for one address. Goes out: what is known about its hand-over. Never: a retry,
a decision about whom to tell, or a message text of its own.
"""
