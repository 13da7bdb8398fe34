"""The lab: throw-away servers that are broken on purpose, one fault at a time.

    faults/      what happened, how it is made, which cause is the truth; a file a part of a server
                 or, as `incidents_*`, a part of what people have told of their outages in public
    means/       what several faults are made with
    rig.py       one broken server, and everything to undo; `Hand` is the part that needs only SQL
    trial.py     a rig watched, broken and asked about; `scoring.py` holds answers against the truth
    allowed.py   which staging servers may be broken; `breaking.py` and `broken.py` do it, heal it

Never: an import of `diagnose` here, or a fault shaped after a clue. A fault that is not recognised
is mended in `diagnose`, or it is not what its story says. A fault with `on_staging` uses nothing of
its rig but what `Hand` has.
"""
