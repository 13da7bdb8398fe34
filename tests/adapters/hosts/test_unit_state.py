"""What systemd says of a unit, and which units would not treat a server well."""

from __future__ import annotations

import pytest

from stanch.adapters.hosts.unit_state import UnitState, declined, is_unit_name, parse_state
from stanch.model.diagnosis import Missing

UNIT = "postgresql-16.service"
SAID = """\
ActiveState=active
CanStart=yes
CanStop=yes
KillSignal=2
LoadState=loaded
MainPID=4711
NRestarts=0
Restart=no
Result=success
SendSIGKILL=yes
SubState=running
TimeoutStopUSec=1h
UnitFileState=enabled
"""


def state(**changes: str) -> UnitState | Missing:
    text = SAID
    for name, value in changes.items():
        kept = [line for line in text.splitlines() if not line.startswith(f"{name}=")]
        text = "\n".join([*kept, f"{name}={value}"])
    return parse_state(UNIT, text)


def unit(**changes: str) -> UnitState:
    found = state(**changes)
    assert isinstance(found, UnitState), found
    return found


@pytest.mark.parametrize(
    "name",
    ["postgresql.service", "postgresql@15-main.service", r"pg@a\x2db.service", "a:b_c.d.service"],
)
def test_names_that_systemd_takes(name: str) -> None:
    assert is_unit_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "postgresql",
        ".service",
        "@x.service",
        "postgresql@.service",
        "a b.service",
        "a;reboot.service",
        "a\nb.service",
        "a.service\n",
        "../a.service",
        "postgresql.socket",
        "ä.service",
        "$(x).service",
        "a" * 250 + ".service",
    ],
)
def test_what_is_no_name_of_one_service(name: str) -> None:
    assert not is_unit_name(name)


def test_a_unit_that_runs_a_server_and_stops_it_fast_is_asked_for_everything() -> None:
    found = unit()
    assert (found.main_pid, found.restarts_by_itself, found.gave_up) == (4711, False, False)
    assert found.job is None
    assert declined(found) == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"KillSignal": "15"}, "SIGTERM"),
        ({"KillSignal": "3"}, "SIGQUIT"),
        ({"KillSignal": "9"}, "SIGKILL"),
        ({"TimeoutStopUSec": "1min 30s"}, "longer than 1min 30s"),
        ({"TimeoutStopUSec": "soon"}, "longer than soon"),
        ({"ExecStop": "{ argv[]=/usr/bin/pg_ctl stop -m immediate ; }"}, "mode immediate"),
        ({"ExecStop": "{ argv[]=/usr/bin/pg_ctl stop -ms ; }"}, "mode s"),
        ({"ExecStop": "{ argv[]=/usr/bin/pg_ctlcluster --force 15 main stop ; }"}, "no plain"),
        ({"ExecStop": "{ argv[]=/opt/halt-the-database ; }"}, "no plain pg_ctl"),
        ({"CanStop": "no"}, "refuses to be stopped"),
    ],
)
def test_a_unit_that_would_not_shut_a_server_down_in_order_is_not_asked_to(
    changes: dict[str, str], why: str
) -> None:
    told = dict(declined(unit(**changes)))
    assert set(told) == {"stop", "restart"}
    assert why in told["stop"]


@pytest.mark.parametrize(
    "changes",
    [
        {"TimeoutStopUSec": "infinity"},
        {"TimeoutStopUSec": "1min 30s", "SendSIGKILL": "no"},
        {"KillSignal": "15", "ExecStop": "{ argv[]=/usr/bin/pg_ctl stop -D /data -m fast ; }"},
        {"KillSignal": "15", "ExecStop": "{ argv[]=/usr/bin/pg_ctl stop -D /data ; }"},
        {"ExecStop": "{ argv[]=/usr/bin/pg_ctlcluster --mode fast 15-main stop ; }"},
    ],
)
def test_a_unit_whose_way_to_stop_is_a_fast_shutdown_is(changes: dict[str, str]) -> None:
    assert declined(unit(**changes)) == ()


def test_a_unit_that_may_not_be_started_is_neither_started_nor_restarted() -> None:
    assert set(dict(declined(unit(CanStart="no")))) == {"start", "restart"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Job": "123"}, "job 123"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "auto-restart"),
        ({"ActiveState": "deactivating", "SubState": "stop-sigint"}, "deactivating"),
    ],
)
def test_what_systemd_does_with_it_already_is_a_job(changes: dict[str, str], words: str) -> None:
    job = unit(**changes).job
    assert job is not None
    assert (job.pid, words in job.command) == (1, True)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"LoadState": "not-found"}, "not-found"),
        ({"LoadState": "masked"}, "masked"),
        ({"LoadState": "bad-setting"}, "bad-setting"),
        ({"SubState": "exited"}, "no process of its own"),
    ],
)
def test_a_unit_that_is_not_there_or_runs_nothing_is_none(
    changes: dict[str, str], why: str
) -> None:
    found = state(**changes)
    assert isinstance(found, Missing)
    assert why in found.reason


def test_the_first_word_on_a_property_counts_and_noise_is_no_answer() -> None:
    assert unit(SubState="running\nMainPID=1").main_pid == 4711
    assert isinstance(parse_state(UNIT, "Failed to connect to bus: Host is down\n"), Missing)
    assert isinstance(parse_state(UNIT, ""), Missing)
    assert unit(MainPID="0").main_pid is None
    assert unit(ActiveState="failed", Result="start-limit-hit").gave_up
