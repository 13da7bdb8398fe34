"""From "something is wrong" to "this is why", with the evidence on the table.

Comes in: what could be read of one target within one deadline. Goes out: ranked causes, or
healthy, recovered, unknown. Never: changes anything, opens more than one session, or guesses
where a reading is missing.
"""
