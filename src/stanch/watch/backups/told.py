"""What one look at a place saw, in one sentence, and whether it would do in an incident."""

from __future__ import annotations

from datetime import datetime

from stanch.facts.wal_holes import holes, newest_wal
from stanch.facts.wal_names import wal_name
from stanch.model.backups import BackupsSeen, WalHeld
from stanch.model.shown import moment, shortened, span
from stanch.watch.backups.readings import dated_ahead
from stanch.watch.health.report import size, thousands

NAME_CHARS_MAX = 80


def seen_words(seen: BackupsSeen, *, at: datetime) -> tuple[bool, str]:
    """Number, size, newest and oldest good backup; good when there is one and nothing is wrong."""
    if not seen.count:
        return seen.running, "a first one is being taken" if seen.running else "there is no backup"
    words = f"{_counted(seen.count, 'backup')}, {size(seen.size_bytes)}"
    good = sorted((b for b in seen.backups if b.is_good), key=lambda b: b.at)
    faults = [fault for fault in (seen.problem, seen.latest_fault) if fault]
    if not good:
        bad = [b.fault for b in seen.backups if b.fault]
        return False, f"{words}, none of them good: {bad[0] if bad else 'still being written'}"
    if dated_ahead(good[-1], at):
        faults.append(f"{shortened(good[-1].name, NAME_CHARS_MAX)} is dated {moment(good[-1].at)}")
    good = [b for b in good if not dated_ahead(b, at)] or good
    newest, oldest = good[-1], good[0]
    told = (
        f"newest good {shortened(newest.name, NAME_CHARS_MAX)}, {_age(newest.at, at)} old, "
        f"{size(newest.size_bytes)}; oldest {_age(oldest.at, at)}"
    )
    return not faults, "; ".join((words, told, *faults))


def archive_words(held: WalHeld, *, segment_bytes: int | None) -> tuple[bool, str]:
    """Number and newest of the WAL files, and what is missing, as far as one look can tell.

    `segment_bytes` is None where the server could not be asked for the size of its files.
    """
    files = sum(run.last - run.first + 1 for run in held.runs)
    if not files:
        return False, "there is no WAL file"
    words = _counted(files, "WAL file")
    if segment_bytes is None:
        reason = "whether some are missing is not known: the server could not be asked"
        return True, f"{words}; {reason}"
    words = f"{words}, newest {newest_wal(held, segment_bytes=segment_bytes)}"
    gaps = holes(held, segment_bytes=segment_bytes)
    if not gaps:
        return True, f"{words}, none is missing"
    first = wal_name(gaps[0].timeline, gaps[0].first, segment_bytes=segment_bytes)
    missing = _counted(sum(gap.files for gap in gaps), "file")
    return False, f"{words}; {missing} missing unless on the way, the first is {first}"


def _age(then: datetime, at: datetime) -> str:
    return span(max(0.0, (at - then).total_seconds()))


def _counted(count: int, what: str) -> str:
    return f"{thousands(count)} {what}" + ("" if count == 1 else "s")
