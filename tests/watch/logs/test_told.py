"""What logs tell reaches the rules that read it, and what is no news does not."""

from __future__ import annotations

import pytest

from samplings import Watched, seen
from stanch.facts.log_settings import LogSettings
from stanch.model.symptoms import SymptomKind
from stanch.watch.logs.guard_log import GuardLog
from stanch.watch.logs.server_log import ServerLog

STAMP = "2026-11-21 11:40:00.123 UTC [77] "
DAMAGED = f"{STAMP}XX001 ERROR:  ungültige Seite: invalid page in block 7 of relation base/5/7\n"
REFUSED = f"{STAMP}28P01 FATAL:  Passwort-Authentifizierung fehlgeschlagen\n"
OVER_SSH = "Nov 21 11:40:00 db1 sshd[{pid}]: Failed password for a from 192.0.2.7 port 9 ssh2\n"


def server_log() -> ServerLog:
    log = ServerLog(settings=LogSettings(log_line_prefix="%m [%p] %e "))
    log.begin("/log/db.log", anew=True)
    return log


def look(watched: Watched, at_s: float, log: ServerLog | GuardLog, *lines: str) -> None:
    log.feed("".join(lines).encode())
    log.settle()
    watched.look(at_s, seen(readings=tuple(log.readings())))


def test_damaged_pages_are_told_when_they_come_and_not_for_having_been_there() -> None:
    log, watched = server_log(), Watched()
    look(watched, 0, log, DAMAGED)
    look(watched, 10, log, REFUSED)
    assert watched.symptoms == []
    look(watched, 20, log, DAMAGED)
    [symptom] = watched.symptoms
    assert (symptom.kind, symptom.subject) == (SymptomKind.LOG_CORRUPTION, "invalid_page")


def test_a_class_seen_for_the_first_time_ever_is_told() -> None:
    log, watched = server_log(), Watched()
    look(watched, 0, log)
    look(watched, 10, log, DAMAGED)
    assert [s.kind for s in watched.symptoms] == [SymptomKind.LOG_CORRUPTION]


@pytest.mark.parametrize(
    ("log", "line"), [(server_log(), REFUSED), (GuardLog(path="/var/log/auth.log"), OVER_SSH)]
)
def test_many_refused_logins_are_told_from_either_log_and_few_are_not(
    log: ServerLog | GuardLog, line: str
) -> None:
    watched = Watched()
    look(watched, 0, log)
    look(watched, 30, log, line.format(pid=1) * 3)
    look(watched, 61, log)
    assert watched.symptoms == []
    look(watched, 70, log, line.format(pid=2) * 40)
    assert [s.kind for s in watched.symptoms] == [SymptomKind.LOGIN_FAILURES]
