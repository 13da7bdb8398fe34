"""A server that is told to start and gives up: what ended it before no longer matters."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import CANNOT_START
from stanch.diagnose.causes.stopping import NEVER_RESETWAL
from stanch.diagnose.clues import directory, ending, lock, startup, wire
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.symptoms import SymptomKind


def _tell(evidence: Evidence) -> str:
    event, refused = ending.gave_up(evidence), directory.refused_for(evidence)
    if event is None and refused:
        return f"The server cannot be started: {refused}."
    said = f": {event.text.rstrip('.')}" if event else ""
    return f"The server was told to start and gave up{said}."


def _facts(evidence: Evidence) -> Facts:
    files = value_of(evidence.files)
    return (
        *server_facts(evidence),
        ("data_directory_uid", files.owner_uid if files else None),
        ("data_directory_mode", f"{files.mode:04o}" if files and files.mode is not None else None),
    )


cannot_start = Cause(
    id=CANNOT_START,
    section=Section.PROCESS,
    sentence="The server was started and gave up at once, for something that is no cause of its "
    "own here: the owner or mode of its files, a port that is taken, a folder that is missing.",
    onset=Onset.AT_START,
    impact="At once: the server does not start.",
    family="down",
    prior=-2.5,
    weighs=(
        Weigh(clue=wire.refused, yes=2.0, no=-1.5, now=True),
        Weigh(clue=wire.answers, yes=-9.0, no=0.0, now=True),
        Weigh(clue=wire.silent, yes=-3.0, no=0.0, now=True),
        Weigh(clue=ending.start_gave_up, yes=8.0, no=-7.0),
        # Who may not even open the folder writes nothing into a log.
        Weigh(clue=directory.directory_refused, yes=13.0, no=0.0, now=True),
        # Then that cause tells it, and this one is only its general case.
        Weigh(clue=startup.reason_named, yes=-9.0, no=0.0),
        Weigh(clue=startup.control_set_aside, yes=-6.0, no=0.0),
        Weigh(clue=startup.upgrade_left, yes=-6.0, no=0.0, now=True),
        Weigh(clue=lock.postmaster_alive, yes=-6.0, no=0.5, now=True),
        Weigh(clue=lock.foreign_holder, yes=-5.0, no=0.0, now=True),
    ),
    tell=_tell,
    facts=_facts,
    symptoms=(SymptomKind.SERVER_DOWN,),
    follows_change=(
        ItemKind.SETTING,
        ItemKind.SERVER,
        ItemKind.IMAGE,
        ItemKind.EXTENSION,
    ),
    safe_first="Read the last lines of the server log and mend what they name; then start it "
    "through whoever manages it.",
    never=(
        "Do not start it again and again: each try ends the same way until that is mended.",
        "Do not make a new data directory or run initdb: the data is still in the old one.",
        NEVER_RESETWAL,
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}server-start.html#SERVER-START-FAILURES",
)
