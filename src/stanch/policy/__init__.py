"""stanch.yaml: what is watched, who is told, what Stanch may do by itself.

Comes in: the text of a policy file. Goes out: one frozen `Policy`, or every finding with its line.
Never: a clock, a network, a guess about what an unknown key might have meant.
"""
