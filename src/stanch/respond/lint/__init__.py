"""Reads runbooks that anybody wrote, and explains the steps in them that make things worse.

`read` takes a text to findings. `document` finds the blocks, `shell` and `wrappers` the commands
in them, `sql` the statements; the rules name what is dangerous about them, and `hazards` says why,
and what to do instead. Nothing here runs anything.
"""
