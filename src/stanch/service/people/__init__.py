"""How a command of a person reaches the responder, running, down or hung, and how the answer looks.

Comes in: a request. Goes out: `operations` asked, its answer shown. Never: a touch at a target.
"""
