"""Looking back: sentences, durations and the post-mortem, read from an incident's timeline alone.

Comes in: recorded events and people's names. Goes out: text and figures. Never: a second source,
a clock, or an opinion the timeline does not carry.
"""
