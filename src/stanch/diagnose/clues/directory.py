"""Whether a server may open its own data directory: whose it is, and who else may enter it."""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.ports.traces import StartFiles

OTHERS = 0o027
"""Rights of the group to write, and all rights of others: with any of them no server starts."""
OWNERS = 0o700
ROOT = 0
"""As root no server runs, so that nothing of root's is its own."""


def refused_for(evidence: Evidence) -> str:
    """What a start would give up for, in words; empty: nothing, or nobody could look."""
    files = value_of(evidence.files)
    return "" if files is None else _refused_for(files)


def _refused_for(files: StartFiles) -> str:
    owner, mode, control = files.owner_uid, files.mode, files.control_owner_uid
    if owner == ROOT:
        return "the data directory belongs to root, as whom no server runs"
    if owner is not None and control is not None and control != owner:
        return (
            f"the data directory belongs to the user with number {owner}, and the control file in "
            f"it to {control}"
        )
    if mode is not None and mode & OTHERS:
        return f"the data directory has mode {mode:04o}: servers take 0700 and 0750 alone"
    if mode is not None and mode & OWNERS != OWNERS:
        return f"the data directory has mode {mode:04o}: its own user cannot work in it"
    return ""


def _refused(files: StartFiles, _evidence: Evidence) -> YES_NO:
    if files.owner_uid is None or files.mode is None:
        return "whose the data directory is was not told"
    why = _refused_for(files)
    if why:
        return True, why
    return False, "owner and mode of the data directory are as a server wants them"


directory_refused = clue_on(
    "directory_refused",
    "Would a start give up for the owner or the mode of the data directory?",
    lambda e: e.files,
    _refused,
)
