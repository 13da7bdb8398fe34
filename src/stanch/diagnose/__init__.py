"""From "something is wrong" to "this is why", with the evidence on the table.

Comes in: what could be read of one target within one deadline. Goes out: ranked causes, or
healthy, recovered, unknown. Never: changes anything, opens more than one session, or guesses
where a reading is missing.

    run             the witnesses, side by side, until the deadline
    session/        what one session is asked; twice/ counters a second apart, flushing/ a flush
    reading/        files and folders in several steps; sparing/ what an answer does not wait for
    lateness/       how late our own process was
    condense*       from what was read to what is kept: evidence, which a bundle carries
    clues/          one question each; causes/ weigh their answers; rank puts them in order
"""
