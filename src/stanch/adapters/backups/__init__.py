"""The places where backups lie: folders of dumps, and the repositories of backup tools.

Comes in: where to look. Goes out: `model.backups`. Never: a change to a backup, or a good word for
one that was not looked at.
"""
