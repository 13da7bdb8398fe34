"""How anything is ever done to a target: intent, guards, act, verify, outcome.

In: one planned step, its action, and the world. Out: events of what was intended, done and seen.
Never: acts without a durable intent, after `act_before`, or on a guard that could not be answered.
"""
