"""From a cause to a plan, and the acts that a plan is made of.

In: a diagnosis, the target's policy, runbooks. Out: a plan bound to facts, or why there is none
with what people could do; and whether the target is rescued.
Never: acts without the executor of `steps`, or decides on facts it has not read again.
"""
