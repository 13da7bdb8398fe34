"""Signs of data that is not what was written: pages, indexes, large values, catalogs, order."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course, clue_on_log
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.damaged_files import INVALID_PAGE, PAGE, number_in
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course, History
from stanch.diagnose.inside import Changes
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.shown import shortened, span
from stanch.model.symptoms import SymptomKind

WITHIN_S = 3600.0
"""Damage does not heal; an older line may tell of what has been mended since."""
WARNED_WITHIN_S = 900.0
"""A warning may be older than the rebuilding that it asked for."""
SAME_LINES_MIN = 3
"""A catalog that changes while it is read gives such a line once; a damaged one again and again."""
DROPPED_WITHIN = timedelta(minutes=10)
FIRST_USER_OID = 16384
"""Files of the catalogs have lower numbers until a catalog is written anew."""
STORAGE_TROUBLE = ("io_error", "file_system", "hardware")

_NUMBER = re.compile(r"(?P<number>\d+)(?:_\w+)?(?:\.\d+)?$")


def damaged(evidence: Evidence, kind: str) -> list[LogEvent]:
    """The lines of one class that are not too old, oldest first."""
    log = value_of(evidence.log)
    if log is None:
        return []
    return [e for e in log.events if e.kind == kind and _is_recent(e, evidence)]


def _is_recent(event: LogEvent, evidence: Evidence) -> bool:
    return event.at is None or (evidence.at - event.at).total_seconds() <= WITHIN_S


def pages(evidence: Evidence) -> tuple[tuple[str, int | None], ...]:
    """Files and blocks that the log calls damaged, each once."""
    found = [PAGE.match(event.text) for event in damaged(evidence, INVALID_PAGE)]
    named = [(m["path"], _block(m["block"] or m["first"])) for m in found if m]
    return tuple(dict.fromkeys(named))


def _block(number: str | None) -> int | None:
    return None if number is None else int(number)


def relation_in(evidence: Evidence, path: str) -> tuple[str, bool] | None:
    """The relation in a file, and whether it is an index; None where nobody could look it up."""
    figures, number = value_of(evidence.figures), number_in(path)
    found = figures.of("damaged_file", number) if figures is not None and number else None
    return None if found is None else (found.detail, bool(found.value))


def damaged_indexes(evidence: Evidence) -> tuple[str, ...] | None:
    """Indexes with damaged pages, where no page of anything else is damaged; None: not known."""
    files = {path for path, _ in pages(evidence)}
    known = [relation_in(evidence, path) for path in sorted(files)]
    if not files or any(one is None for one in known):
        return None
    told = [one for one in known if one is not None]
    return tuple(name for name, _ in told) if all(index for _, index in told) else ()


def is_catalog(path: str) -> bool:
    """Whether a file is one of the server's own catalogs, by its number."""
    number = _NUMBER.search(path)
    return number is not None and int(number["number"]) < FIRST_USER_OID


def repeated(evidence: Evidence) -> tuple[str, int]:
    """What was said most often of catalogs, and how many times."""
    said = Counter(event.text for event in damaged(evidence, "catalog_damaged"))
    return min(said.items(), key=lambda item: (-item[1], item[0]), default=("", 0))


def mismatched(evidence: Evidence) -> tuple[str, ...]:
    """Databases whose collation is another version than the one they were made with."""
    figures = value_of(evidence.figures)
    found = figures.named("collation_of_database") if figures else ()
    told = [(f.subject, re.fullmatch(r"made with (\S.*), now (\S.*)", f.detail)) for f in found]
    # Where one of the two is not known, nobody can say that they differ.
    return tuple(f"{name} ({m[0]})" for name, m in told if m is not None)


def recorded_mismatches(evidence: Evidence) -> tuple[Course, ...]:
    """What the watch last read in each database."""
    history = value_of(evidence.history)
    return history.named("collation_mismatches") if history else ()


def _checksums(figures: Figures, _evidence: Evidence) -> YES_NO:
    failed = [f for f in figures.named("checksum_failure_age_s") if f.value is not None]
    recent = [f for f in failed if (f.value or 0.0) <= WITHIN_S]
    if recent:
        last = min(recent, key=lambda f: (f.value or 0.0, f.subject))
        return True, (
            f"the newest checksum failure in {last.subject} was {span(last.value or 0.0)} ago, "
            f"{last.detail}"
        )
    counted = figures.value("checksum_failures_total")
    if counted is None and not failed:
        return "data checksums are off, or their failures are not counted"
    return False, f"no checksum failed within {span(WITHIN_S)}"


def _only_indexes(_figures: Figures, evidence: Evidence) -> YES_NO:
    if not pages(evidence):
        return ""
    found = damaged_indexes(evidence)
    if found is None:
        return "to which relations the damaged files belong could not be read"
    if not found:
        return False, "damaged pages belong to tables, too"
    return True, shortened(f"all damaged pages are those of indexes: {', '.join(found)}", 200)


def _storage(history: History, _evidence: Evidence) -> YES_NO:
    told = [c for c in history.named("kernel_messages_total") if c.subject in STORAGE_TROUBLE]
    if not told:
        return "kernel_messages_total is not recorded"
    met = sorted(c.subject for c in told if any((c.now, c.peak, c.high)))
    if not met:
        return False, "the kernel tells of no storage error"
    return True, f"the kernel tells of {', '.join(met)}"


def _page_of_catalog(_log: Log, evidence: Evidence) -> YES_NO:
    named = [path for path, _ in pages(evidence)]
    if not named:
        return ""
    own = next((path for path in named if is_catalog(path)), None)
    if own is None:
        return False, "the damaged pages are of tables and indexes that somebody made"
    return True, f"{own} is a file of the server's own catalogs"


def _catalog_again(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    text, times = repeated(evidence)
    if not times:
        return False, f"no such line in {log.path}"
    return times >= SAME_LINES_MIN, f"{times} times: {shortened(text, 150)}"


def _dropped_lately(changes: Changes, evidence: Evidence) -> YES_NO:
    met = [e.at for e in damaged(evidence, "catalog_damaged") if e.at is not None]
    if not met:
        return ""
    first = min(met)
    gone = [
        c
        for c in changes.changes
        if first - DROPPED_WITHIN <= c.at <= first + timedelta(seconds=30)
        and (c.told.startswith("is gone") or "ran drop" in c.told.casefold())
    ]
    if not gone:
        return False, "nothing was dropped shortly before"
    return True, f"{gone[-1].what} was dropped shortly before"


def _of_database(figures: Figures, evidence: Evidence) -> YES_NO:
    differ = mismatched(evidence)
    if differ:
        return True, f"database {', '.join(differ[:3])}"
    version = figures.value("version_num")
    if version is None or version < 150_000:
        return "before version 15 a database does not keep the version of its collation"
    return False, "every database has the collation version that it was made with"


def _recorded(_history: History, evidence: Evidence) -> YES_NO:
    told = [c for c in recorded_mismatches(evidence) if c.now is not None]
    if not told:
        return "collation_mismatches is not recorded"
    differ = [f"{c.subject}: {c.now:.0f}" for c in told if (c.now or 0.0) >= 1]
    if not differ:
        return False, "no collation in use differs from the one that its indexes were built with"
    return True, f"collations of another version than when indexes were built: {', '.join(differ)}"


def _warned(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    since = evidence.at - timedelta(seconds=WARNED_WITHIN_S)
    # That the present version is not known is no mismatch.
    told = [e for e in damaged(evidence, "collation_mismatch") if "version mismatch" in e.text]
    lately = [e for e in told if e.at is None or e.at >= since]
    if not lately:
        return False, f"no such line in {log.path} lately"
    return True, f"the log says: {shortened(lately[-1].text, 150)}", lately[-1].at


def _seen(*kinds: tuple[SymptomKind, str]) -> Clue:
    """Whether the watch sees that the log or the counters tell of this very damage."""

    def ask(evidence: Evidence) -> Answer:
        standing = [s for s in evidence.symptoms if (s.kind, s.subject) in kinds]
        if not standing:
            return Answer(yes=None, text="")
        first = min(standing, key=lambda s: (s.since, s.key))
        return Answer(yes=True, text=f"the watch has seen {first.key}", at=first.since)

    subject = kinds[0][1]
    question = f"Has the watch seen signs of it ({subject or kinds[0][0].value})?"
    return Clue(id=f"{subject or kinds[0][0].value}_seen", question=question, ask=ask)


page_logged = clue_on_log(
    "page_logged",
    "Does the log tell of damaged or missing pages (XX001, 58P01)?",
    ("invalid_page",),
    within_s=WITHIN_S,
)
checksum_failed = clue_on(
    "checksum_failed",
    "Has a data page failed its checksum lately?",
    lambda e: e.figures,
    _checksums,
    reads=("checksum_failure_age_s", "checksum_failures_total"),
)
checksums_failing = clue_on_course(
    "checksums_failing",
    "Do more and more pages fail their checksums?",
    ("checksum_failures_total", ""),
    lambda c, _: (
        bool(c.now or c.peak),
        "more have failed since it began" if c.now or c.peak else "none has failed since it began",
    ),
)
page_seen = _seen((SymptomKind.LOG_CORRUPTION, "invalid_page"), (SymptomKind.CHECKSUM_FAILURES, ""))
storage_failing = clue_on(
    "storage_failing",
    "Does the kernel tell of errors of storage or hardware?",
    lambda e: e.history,
    _storage,
    reads=("kernel_messages_total",),
)
toast_logged = clue_on_log(
    "toast_logged",
    "Does the log tell of large values whose parts are missing (TOAST, XX001)?",
    ("toast_damaged",),
    within_s=WITHIN_S,
)
toast_seen = _seen((SymptomKind.LOG_CORRUPTION, "toast_damaged"))
index_logged = clue_on_log(
    "index_logged",
    "Does the log tell of a damaged index (XX002, or what amcheck found)?",
    ("index_damaged",),
    within_s=WITHIN_S,
)
index_seen = _seen((SymptomKind.LOG_CORRUPTION, "index_damaged"))
catalog_again = clue_on(
    "catalog_again",
    "Does the log say again and again that the catalogs lack the same thing (XX000)?",
    lambda e: e.log,
    _catalog_again,
)
page_of_catalog = clue_on(
    "page_of_catalog",
    "Is a damaged page one of the server's own catalogs?",
    lambda e: e.log,
    _page_of_catalog,
)
dropped_lately = clue_on(
    "dropped_lately",
    "Was something dropped right before, so that sessions may still have known it?",
    lambda e: e.changes,
    _dropped_lately,
)
collation_of_database = clue_on(
    "collation_of_database",
    "Is a database's collation another version than the one it was made with?",
    lambda e: e.figures,
    _of_database,
    reads=("collation_of_database", "version_num"),
)
collation_recorded = clue_on(
    "collation_recorded",
    "Has the watch counted collations that differ from what indexes were built with?",
    lambda e: e.history,
    _recorded,
    reads=("collation_mismatches",),
)
collation_logged = clue_on(
    "collation_logged",
    "Does the log warn of a collation version mismatch?",
    lambda e: e.log,
    _warned,
)
only_indexes = clue_on(
    "only_indexes",
    "Do all damaged pages belong to indexes?",
    lambda e: e.figures,
    _only_indexes,
    reads=("damaged_file",),
)
