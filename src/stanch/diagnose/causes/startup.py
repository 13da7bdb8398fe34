"""Starts that give up for something that is known by name: each says itself what it lacks."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    BAD_CONFIGURATION,
    CANNOT_START,
    KERNEL_RESOURCES_SHORT,
    NO_VALID_CHECKPOINT,
    OUT_OF_MEMORY,
    PRELOAD_LIBRARY_MISSING,
    STOPPED_CLEANLY,
    UPGRADE_FAILED,
    VERSION_MISMATCH,
)
from stanch.diagnose.clues import lock, startup, wire
from stanch.diagnose.clues.startup import Reason
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.symptoms import SymptomKind

NEVER_AGAIN = "Do not start it again and again: each try ends the same way until that is mended."
NEVER_INITDB = "Do not run initdb over it or beside it: the data is still in this directory."
NEVER_RESETWAL_UNSAVED = "Do not run pg_resetwal on the only copy: it loses committed rows, and \
what it breaks shows later."
FORBIDS = ("start_server", "set_aside_lock_file")


def kept_down() -> tuple[Weigh, ...]:
    """What speaks of a server that is told to start and cannot, or against it."""
    return (
        Weigh(clue=wire.refused, yes=2.0, no=-1.5, now=True),
        Weigh(clue=wire.answers, yes=-9.0, no=0.0, now=True),
        Weigh(clue=wire.silent, yes=-3.0, no=0.0, now=True),
        Weigh(clue=lock.postmaster_alive, yes=-6.0, no=0.5, now=True),
        Weigh(clue=lock.foreign_holder, yes=-5.0, no=0.0, now=True),
    )


def given_up_facts(evidence: Evidence, reason: Reason) -> Facts:
    event = startup.gave_up_for(evidence, reason)
    files = value_of(evidence.files)
    return (
        *server_facts(evidence),
        ("said", startup.said(event) or None),
        ("data_version", files.version if files and files.version else None),
        ("control_file_present", files.control_file if files else None),
        ("backup_label_present", files.backup_label if files else None),
    )


def saying(evidence: Evidence, reason: Reason) -> str:
    told = startup.said(startup.gave_up_for(evidence, reason))
    return f": {told}" if told else ""


def _tell_settings(evidence: Evidence) -> str:
    told = startup.settings_said(evidence)
    return f"A setting keeps the server from starting{': ' if told else ''}{told}."


def _tell_control(evidence: Evidence) -> str:
    files = value_of(evidence.files)
    label = "; a backup_label is there" if files and files.backup_label else ""
    what = "The start finds no checkpoint to begin from, or no good control file"
    return f"{what}{saying(evidence, Reason.CONTROL)}{label}."


kernel_resources_short = Cause(
    id=KERNEL_RESOURCES_SHORT,
    section=Section.PROCESS,
    sentence="The kernel does not give the starting server its shared memory or semaphores: too "
    "few huge pages, too large shared_buffers, a limit of System V resources.",
    onset=Onset.AT_START,
    impact="At once: the server does not start; usually right after a changed setting or a "
    "smaller machine.",
    family="down",
    prior=-3.0,
    weighs=(
        *kept_down(),
        Weigh(clue=startup.for_resources, yes=10.0, no=-7.0),
    ),
    shown_by=((startup.for_resources, True),),
    tell=lambda e: (
        f"The kernel refuses the server what it needs to start{saying(e, Reason.RESOURCES)}."
    ),
    facts=lambda e: given_up_facts(e, Reason.RESOURCES),
    apart={
        CANNOT_START: "Does the log say that shared memory could not be mapped or created?",
        OUT_OF_MEMORY: "Is it the start that fails, or a session of a server that runs?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    follows_change=(ItemKind.SETTING, ItemKind.IMAGE, ItemKind.ROLLOUT),
    safe_first="Take back what was changed (huge_pages = try, the old shared_buffers); "
    "`postgres -C shared_memory_size_in_huge_pages` says what is needed, from version 15 on.",
    never=(NEVER_AGAIN, NEVER_INITDB),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}kernel-resources.html",
)

preload_library_missing = Cause(
    id=PRELOAD_LIBRARY_MISSING,
    section=Section.PROCESS,
    sentence="A library of shared_preload_libraries is not installed, or not for this version: "
    "without it the server does not start.",
    onset=Onset.AT_START,
    impact="At once: the server does not start, often long after the setting or the package was "
    "changed.",
    family="down",
    prior=-3.0,
    weighs=(
        *kept_down(),
        Weigh(clue=startup.for_library, yes=10.0, no=-7.0),
    ),
    shown_by=((startup.for_library, True),),
    tell=lambda e: (
        f"A library that the server loads at its start is missing{saying(e, Reason.LIBRARY)}."
    ),
    facts=lambda e: given_up_facts(e, Reason.LIBRARY),
    apart={
        CANNOT_START: "Does the log name a library that could not be accessed or loaded?",
        VERSION_MISMATCH: "Does the log name a library, or the database files?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    follows_change=(ItemKind.SETTING, ItemKind.IMAGE, ItemKind.ROLLOUT),
    safe_first="Install the package of that library for this version; or take the library out of "
    "shared_preload_libraries, if nobody needs it at the moment.",
    never=(
        NEVER_AGAIN,
        NEVER_INITDB,
        "Do not drop the extension with CASCADE afterwards: its tables and columns go with it.",
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}runtime-config-client.html#GUC-SHARED-PRELOAD-LIBRARIES",
)

no_valid_checkpoint = Cause(
    id=NO_VALID_CHECKPOINT,
    section=Section.PROCESS,
    sentence="The start finds no checkpoint to recover from, or a damaged or missing control file: "
    "WAL that was deleted, a backup_label that was left, a restore without its WAL, bad storage.",
    onset=Onset.AT_START,
    impact="At once: the server does not start, and no start will help.",
    family="down",
    prior=-3.0,
    weighs=(
        *kept_down(),
        Weigh(clue=startup.for_control, yes=10.0, no=-7.0),
        Weigh(clue=startup.control_gone, yes=1.0, no=0.0),
        Weigh(clue=startup.control_set_aside, yes=-8.0, no=0.0),
        Weigh(clue=startup.backup_label_left, yes=0.5, no=0.0),
    ),
    shown_by=((startup.for_control, True),),
    tell=_tell_control,
    facts=lambda e: given_up_facts(e, Reason.CONTROL),
    apart={
        CANNOT_START: "Does the log say that a checkpoint record or the control file is no good?",
        UPGRADE_FAILED: "Is there a global/pg_control.old beside the missing control file?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    safe_first="Copy the whole data directory first. Then see whether a backup_label tells where "
    "to begin and whether the WAL it names is in the archive; else restore from a backup.",
    never=(
        NEVER_RESETWAL_UNSAVED,
        "Do not delete backup_label before it is certain that no restore was under way: the data "
        "would be damaged without a word.",
        NEVER_AGAIN,
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}continuous-archiving.html#BACKUP-PITR-RECOVERY",
)

bad_configuration = Cause(
    id=BAD_CONFIGURATION,
    section=Section.PROCESS,
    sentence="A setting keeps the server from starting: one that it cannot read, that contradicts "
    "another, or that a standby may not have.",
    onset=Onset.AT_START,
    impact="At once: the server does not start. The change may be old: a reload keeps what was in "
    "force, and only the next start meets it.",
    family="down",
    prior=-3.0,
    weighs=(
        *kept_down(),
        Weigh(clue=startup.for_settings, yes=10.0, no=-7.0),
    ),
    shown_by=((startup.for_settings, True),),
    tell=_tell_settings,
    facts=lambda e: (
        *given_up_facts(e, Reason.SETTINGS),
        ("setting_said", startup.settings_said(e) or None),
    ),
    apart={
        CANNOT_START: "Does the log name a setting or a settings file?",
        KERNEL_RESOURCES_SHORT: "Could the server not read a setting, or could the kernel not give "
        "what it asks for?",
        STOPPED_CLEANLY: "Does the server log end with a FATAL line about a setting?",
    },
    symptoms=(SymptomKind.SERVER_DOWN, SymptomKind.LOG_CONFIG_ERROR),
    follows_change=(ItemKind.SETTING, ItemKind.ROLLOUT),
    safe_first="Take back that one setting (postgresql.conf, postgresql.auto.conf, an included "
    "file), try with `postgres -D DIRECTORY -C port`, then start it through its manager.",
    never=(
        "Do not replace the whole file: the other settings in it are needed, too.",
        NEVER_AGAIN,
        NEVER_INITDB,
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}config-setting.html",
)
