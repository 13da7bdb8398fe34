"""Whether a server may open its own data directory: whose it is, and who else may enter it."""

from __future__ import annotations

import re

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.ports.traces import StartFiles
from stanch.model.reach import Reach, ReachState

_FOLDER = re.compile(r'"((?:base|pg_tblspc)/[\w./-]{1,80})"')
"""In whatever language the server says it; a name of a database stands in the line before."""

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


def said_gone(evidence: Evidence) -> str:
    """Which files that every data directory has are not in this one; empty: none, or unknown."""
    files = value_of(evidence.files)
    return "" if files is None or files.closed else _said_gone(files)


def _said_gone(files: StartFiles) -> str:
    named = {"PG_VERSION": bool(files.version), "global/pg_control": files.control_file}
    gone = [name for name, there in named.items() if not there]
    return f"{' and '.join(gone)} {'is' if len(gone) == 1 else 'are'} not there" if gone else ""


def _files_gone(files: StartFiles, _evidence: Evidence) -> YES_NO:
    if files.closed:
        return "what lies in the data directory could not be looked at"
    # The control file alone has a cause of its own: a restore or a copy that left it out.
    return not files.version, _said_gone(files) or "PG_VERSION and the control file are there"


def database_folder_gone(evidence: Evidence) -> str:
    """The folder of a database, by the server's own word at a login; empty: it did not say so."""
    reach = value_of(evidence.reach)
    failed = reach.failed_layer if reach is not None else None
    if reach is None or failed is None or reach.state is not ReachState.NO_SUCH_DATABASE:
        return ""
    found = _FOLDER.search(failed.detail)
    return found[1] if found else ""


def _database_folder_gone(reach: Reach, evidence: Evidence) -> YES_NO:
    if reach.state is not ReachState.NO_SUCH_DATABASE:
        return ""
    folder = database_folder_gone(evidence)
    if not folder:
        return False, "the server knows no database of that name"
    return True, f"the server knows the database, and its folder {folder} is missing"


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
database_folder = clue_on(
    "database_folder",
    "Does the server say at a login that the folder of a database it knows is missing?",
    lambda e: e.reach,
    _database_folder_gone,
)
files_gone = clue_on(
    "files_gone",
    "Are files gone that every data directory has?",
    lambda e: e.files,
    _files_gone,
)
