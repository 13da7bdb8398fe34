"""Faults are made on a staging server only where a list says so, in so many words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.drill.lab.allowed import Allowed, Server, permit, read_allow_list, who_answers
from stanch.drill.lab.fault import Area, Fault
from stanch.model.errors import SetupError

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FAULT = Fault(
    id="forgotten",
    area=Area.LOCKS,
    story="Somebody forgot.",
    causes=("idle_in_transaction",),
    make=lambda rig: None,
    on_staging=True,
)
ENTRY = Allowed(
    name="orders-staging",
    system_identifier="7391822455667788990",
    until=NOW + timedelta(days=1),
    faults=("forgotten",),
)
SERVER = Server(system_identifier=ENTRY.system_identifier, in_recovery=False, powerful=False)

LIST = """\
servers:
  - name: orders-staging
    system_identifier: "7391822455667788990"
    until: 2026-11-22T12:00:00Z
    faults: [forgotten]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "allowed.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_server_on_the_list_may_be_broken_in_the_ways_it_names() -> None:
    assert permit(FAULT, SERVER, [ENTRY], at=NOW) is ENTRY


def test_all_means_every_fault_that_is_made_by_sql_alone() -> None:
    assert permit(FAULT, SERVER, [replace(ENTRY, faults=("all",))], at=NOW)
    with pytest.raises(SetupError, match="only made on throw-away servers"):
        permit(replace(FAULT, on_staging=False), SERVER, [replace(ENTRY, faults=("all",))], at=NOW)


@pytest.mark.parametrize(
    ("server", "entry", "says"),
    [
        (replace(SERVER, system_identifier="1"), ENTRY, "not on the list"),
        (SERVER, replace(ENTRY, until=NOW), "was allowed until 2026-11-21 12:00"),
        (SERVER, replace(ENTRY, until=NOW + timedelta(days=32)), "more than 31 days"),
        (SERVER, replace(ENTRY, faults=("another",)), "not among the faults"),
        (replace(SERVER, in_recovery=True), ENTRY, "is a standby"),
        (replace(SERVER, powerful=True), ENTRY, "may do too much"),
    ],
)
def test_everything_else_is_refused(server: Server, entry: Allowed, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        permit(FAULT, server, [entry], at=NOW)


def test_a_list_is_read_with_its_moments_in_utc(tmp_path: Path) -> None:
    [entry] = read_allow_list(written(tmp_path, LIST))
    assert entry == replace(ENTRY, until=datetime(2026, 11, 22, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no servers"),
        ("servers: []\n", "names no servers"),
        ("servers: [x]\n", "server 1: is no mapping"),
        (LIST.replace("faults: [forgotten]", "fault: all"), "unknown: fault; missing: faults"),
        (LIST.replace('"7391822455667788990"', "orders"), "a number in quotes"),
        (LIST.replace("2026-11-22T12:00:00Z", "tomorrow"), "until is no moment"),
        (LIST.replace("[forgotten]", "{a: b}"), "faults is a list"),
        ("servers: [\n", "is no YAML"),
    ],
)
def test_a_list_that_is_not_one_says_where_it_is_wrong(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(SetupError) as caught:
        read_allow_list(written(tmp_path, text))
    assert says in str(caught.value)


def test_a_list_that_others_may_write_is_no_list(tmp_path: Path) -> None:
    path = written(tmp_path, LIST)
    path.chmod(0o620)
    with pytest.raises(SetupError, match="others may write it"):
        read_allow_list(path)


def test_a_server_says_who_it_is_and_what_the_role_may(shared_server: ScratchServer) -> None:
    ordinary = who_answers(shared_server.dsn("app"))
    identifier = shared_server.query("SELECT system_identifier::text FROM pg_control_system()")
    assert [(ordinary.system_identifier,)] == identifier
    assert not ordinary.powerful
    assert not ordinary.in_recovery
    assert who_answers(shared_server.dsn()).powerful
