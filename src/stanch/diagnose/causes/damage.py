"""Data that is not what was written: pages, large values, catalogs."""

from __future__ import annotations

import re
from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.ids import (
    CATALOG_CORRUPTION,
    INDEX_CORRUPTION,
    PAGE_CORRUPTION,
    TOAST_CORRUPTION,
)
from stanch.diagnose.clues import damage
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.shown import shortened
from stanch.model.symptoms import SymptomKind

FORBIDS = ("start_server", "set_aside_lock_file", "free_space", "vacuum_table")
"""A start replays WAL over the damage, old logs say where it was met first, and a vacuum overwrites
what could still be saved."""
NEVER_RESTART = (
    "Do not restart the server to see whether it goes away: it does not, and what is still right "
    "in memory is lost."
)
NEVER_ZERO = "Do not set zero_damaged_pages: it empties every page that it meets, for good."
NEVER_VACUUM = (
    "Do not run VACUUM, CLUSTER or pg_repack on it: what could still be saved is overwritten."
)
NEVER_FAIL_OVER_BLIND = (
    "Do not fail over before the same rows were read on the standby: it may have the same damage."
)


def began(evidence: Evidence, kind: str) -> datetime | None:
    """When damage of this kind was met first, as far as the log or the watch tells."""
    log = value_of(evidence.log)
    counted = log.count(kind) if log is not None else None
    if counted is not None and damage.damaged(evidence, kind):
        return counted.first_at
    since = [s.since for s in evidence.symptoms if s.subject == kind]
    return min(since, default=None)


def said(evidence: Evidence, kind: str) -> str:
    """The newest line about it."""
    found = damage.damaged(evidence, kind)
    return shortened(found[-1].text, 150) if found else ""


def asked(evidence: Evidence, kind: str) -> str | None:
    """The newest statement that met it."""
    found = [e.statement for e in damage.damaged(evidence, kind) if e.statement]
    return shortened(found[-1], 200) if found else None


def _tell_page(evidence: Evidence) -> str:
    named = damage.pages(evidence)
    storage = damage.storage_failing.ask(evidence)
    why = f"; {storage.text}" if storage.yes else ""
    if named:
        shown = [path if block is None else f"block {block} of {path}" for path, block in named[:3]]
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        return shortened(f"Data pages are damaged: {', '.join(shown)}{more}{why}.", 290)
    words = said(evidence, "invalid_page") or damage.checksum_failed.ask(evidence).text
    return shortened(f"Data pages are damaged: {words}{why}.", 290)


def _page_facts(evidence: Evidence) -> Facts:
    path, block = next(iter(damage.pages(evidence)), (None, None))
    return (
        ("server_running", True),
        ("file", path),
        ("block", block),
        ("damaged_files", len({path for path, _ in damage.pages(evidence)})),
        ("statement", asked(evidence, "invalid_page")),
        ("storage_failing", damage.storage_failing.ask(evidence).yes),
    )


def _toast_facts(evidence: Evidence) -> Facts:
    words = said(evidence, "toast_damaged")
    found = re.search(r"toast value (\d{1,10}) in (pg_toast_(\d{1,10}))", words)
    return (
        ("server_running", True),
        ("toast_value", int(found[1]) if found else None),
        ("toast_table", found[2] if found else None),
        ("table_oid", int(found[3]) if found else None),
        ("statement", asked(evidence, "toast_damaged")),
    )


def _tell_catalog(evidence: Evidence) -> str:
    text, times = damage.repeated(evidence)
    own = [path for path, _ in damage.pages(evidence) if damage.is_catalog(path)]
    if own:
        return f"A system catalog is damaged: pages of {', '.join(own[:3])}."
    return f"A system catalog is damaged: {times} times {shortened(text, 200)}."


page_corruption = Cause(
    id=PAGE_CORRUPTION,
    section=Section.DATA,
    sentence="A page of a table or an index is not what was written: failing storage, a lost "
    "write, memory that flips bits, or files that something else has touched.",
    onset=Onset.CREEPING,
    impact="At once for every statement that reads the page; nobody else notices.",
    prior=-3.0,
    weighs=(
        Weigh(clue=damage.page_logged, yes=5.0, no=-1.0),
        Weigh(clue=damage.checksum_failed, yes=4.5, no=-0.5, now=True),
        Weigh(clue=damage.only_indexes, yes=-13.0, no=0.5),
        Weigh(clue=damage.checksums_failing, yes=1.0, no=0.0, now=True),
        Weigh(clue=damage.page_seen, yes=3.5, no=0.0),
        Weigh(clue=damage.storage_failing, yes=1.0, no=0.0),
    ),
    shown_by=(
        (damage.page_logged, True),
        (damage.checksum_failed, True),
        (damage.page_seen, True),
    ),
    tell=_tell_page,
    facts=_page_facts,
    subject=lambda e: next((path for path, _ in damage.pages(e)), ""),
    began=lambda e: began(e, "invalid_page"),
    apart={
        INDEX_CORRUPTION: "To which relation does the damaged file belong "
        "(pg_filenode_relation): a table, or an index that can be built anew?",
        TOAST_CORRUPTION: "Does the error name a block of a file, or a chunk of a toast value?",
        CATALOG_CORRUPTION: "To which relation does the damaged file belong "
        "(pg_filenode_relation): one of pg_catalog, or one that somebody made?",
    },
    symptoms=(
        SymptomKind.LOG_CORRUPTION,
        SymptomKind.CHECKSUM_FAILURES,
        SymptomKind.STORAGE_ERRORS,
    ),
    brings_about=(INDEX_CORRUPTION, TOAST_CORRUPTION, CATALOG_CORRUPTION),
    safe_first="Keep the application from writing to that table, copy the data directory to other "
    "storage, look up whose file it is (pg_filenode_relation), and read the same rows on a standby "
    "and from a backup: an index is built anew, a table is restored from there.",
    never=(
        NEVER_ZERO,
        NEVER_VACUUM,
        NEVER_RESTART,
        NEVER_FAIL_OVER_BLIND,
        "Do not let old backups expire: the newest may hold the damage.",
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}checksums.html",
)

toast_corruption = Cause(
    id=TOAST_CORRUPTION,
    section=Section.DATA,
    sentence="A large value cannot be read: parts of it, which are stored outside of its table "
    "(TOAST), are missing or are not its own.",
    onset=Onset.CREEPING,
    impact="At once for whoever reads that column of that row, and for dumps; mostly one row.",
    prior=-3.0,
    weighs=(
        Weigh(clue=damage.toast_logged, yes=5.5, no=-3.0),
        Weigh(clue=damage.toast_seen, yes=3.5, no=0.0),
        Weigh(clue=damage.page_logged, yes=-0.5, no=0.5),
        Weigh(clue=damage.storage_failing, yes=0.5, no=0.0),
    ),
    shown_by=((damage.toast_logged, True), (damage.toast_seen, True)),
    tell=lambda e: shortened(
        "A large value cannot be read: "
        f"{said(e, 'toast_damaged') or 'the watch has seen signs of it'}.",
        290,
    ),
    facts=_toast_facts,
    subject=lambda e: str(dict(_toast_facts(e))["toast_table"] or ""),
    began=lambda e: began(e, "toast_damaged"),
    apart={
        INDEX_CORRUPTION: "Does the value come once its TOAST index has been built anew "
        "(REINDEX TABLE of the toast table), in a copy?",
    },
    symptoms=(SymptomKind.LOG_CORRUPTION,),
    safe_first="Find the rows: read the column by ctid, in ranges that are halved until one row is "
    "left; take those rows from a standby or a backup, and dump the others at once.",
    never=(
        "Do not delete the row before it was sought in a standby and a backup.",
        NEVER_VACUUM,
        NEVER_RESTART,
        NEVER_FAIL_OVER_BLIND,
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}storage-toast.html",
)

catalog_corruption = Cause(
    id=CATALOG_CORRUPTION,
    section=Section.DATA,
    sentence="A system catalog lacks what tables and types are made of, or its pages are damaged: "
    "somebody wrote into it, or storage failed.",
    onset=Onset.AT_ONCE,
    impact="At once for statements about what is affected; where it is a central catalog, nobody "
    "can log in to that database.",
    prior=-3.0,
    weighs=(
        Weigh(clue=damage.catalog_again, yes=5.0, no=-1.0),
        Weigh(clue=damage.page_of_catalog, yes=4.5, no=0.0),
        Weigh(clue=damage.dropped_lately, yes=-3.0, no=0.5),
    ),
    shown_by=((damage.catalog_again, True), (damage.page_of_catalog, True)),
    tell=_tell_catalog,
    facts=lambda e: (
        ("server_running", True),
        ("said", shortened(damage.repeated(e)[0], 200) or None),
        ("statement", asked(e, "catalog_damaged")),
    ),
    began=lambda e: began(e, "catalog_damaged") or began(e, "invalid_page"),
    symptoms=(SymptomKind.LOG_CORRUPTION,),
    safe_first="Copy the data directory, and work on the copy only: start it with "
    "ignore_system_indexes; if that helps, its indexes can be built anew, else restore a backup "
    "beside it and dump what can be read.",
    never=(
        "Do not write into pg_class, pg_attribute or any other catalog.",
        "Do not run VACUUM FULL or REINDEX SYSTEM on the only copy.",
        NEVER_ZERO,
        NEVER_RESTART,
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}runtime-config-developer.html#GUC-IGNORE-SYSTEM-INDEXES",
)
