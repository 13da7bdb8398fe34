"""Who is one cluster with whom: by a stream between them, and by nothing less."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stanch.incident.topology import in_touch, together
from stanch.model.ids import TargetName
from stanch.model.seats import Seat, seen_from

P, S, Q, T = (TargetName(n) for n in ("primary", "standby", "twin", "third"))


def place(host: str, port: int = 5432) -> frozenset[tuple[str, int]]:
    return frozenset({(host, port)})


PRIMARY = Seat(cluster="7", primary=True, timeline=1, places=place("db1"))
STANDBY = Seat(
    cluster="7",
    primary=False,
    timeline=1,
    places=place("db2"),
    streams=True,
    upstream=place("db1"),
)


def test_a_standby_follows_the_server_from_whose_place_it_streams() -> None:
    assert in_touch({P: PRIMARY, S: STANDBY}) == {S: P}


@pytest.mark.parametrize(
    "changed",
    [
        {"cluster": "8"},
        {"cluster": ""},
        {"timeline": 2},
        {"streams": False, "upstream": frozenset()},
        {"primary": True},
        {"primary": None},
        {"upstream": place("db1", 5433)},
        {"upstream": place("db9")},
    ],
    ids=str,
)
def test_a_copy_that_is_not_in_touch_follows_nobody(changed: dict[str, object]) -> None:
    copy = replace(STANDBY, **changed)  # type: ignore[arg-type]
    assert in_touch({P: PRIMARY, S: copy}) == {}


def test_two_servers_from_one_backup_are_not_one_cluster() -> None:
    twin = replace(PRIMARY, places=place("db3"))
    assert in_touch({P: PRIMARY, Q: twin, S: STANDBY}) == {S: P}


def test_a_standby_of_a_standby_is_of_the_same_cluster() -> None:
    third = replace(STANDBY, places=place("db3"), upstream=place("db2"))
    found = in_touch({P: PRIMARY, S: STANDBY, T: third})
    assert found == {S: P, T: S}
    assert together(P, found.items()) == [P, S, T]
    assert together(Q, found.items()) == [Q]


def test_who_may_not_see_from_where_it_streams_is_known_by_its_primary() -> None:
    mute = replace(STANDBY, upstream=frozenset())
    sends = replace(PRIMARY, receivers=frozenset({"db2"}))
    assert in_touch({P: sends, S: mute}) == {S: P}
    assert in_touch({P: PRIMARY, S: mute}) == {}


def test_where_two_could_be_meant_nobody_guesses() -> None:
    mute = replace(STANDBY, upstream=frozenset())
    sends = replace(PRIMARY, receivers=frozenset({"db2"}))
    two = {P: sends, Q: replace(sends, places=place("db3")), S: mute}
    assert in_touch(two) == {}
    beside = replace(mute, places=place("db2", 5433))
    assert in_touch({P: sends, S: mute, T: beside}) == {}


@pytest.mark.parametrize("said", ["localhost", "127.0.0.1", "::1", "/run/postgresql", ""])
def test_what_a_server_calls_local_is_its_own_machine(said: str) -> None:
    assert seen_from(frozenset({"db2"}), said) == {"db2"}
    assert seen_from(frozenset({"db2"}), "DB1.example.com") == {"db1.example.com"}
