"""Dropping a slot: exactly the one that was diagnosed, that nobody uses and nobody else manages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import cases_disk as d
import evidences as w
from acting_worlds import AT, TARGET, RecordingActor, always, bare_world, permits, run, step
from acting_worlds import world_of as real_world
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import diagnose
from stanch.facts.slots import ReplicationSlot, parse_slot
from stanch.model.diagnosis import Missing, Scalar
from stanch.model.errors import ProbeFailed
from stanch.model.ids import IncidentId
from stanch.model.plans import Mode, Plan, PlannedStep, Refusal, StepOutcome
from stanch.model.ports.server import Acted
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.patroni import PatroniSource
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.actions.drop_slot.guards import GUARDS, UNUSED_S_MIN, may_drop
from stanch.respond.actions.drop_slot.planning import PLANNING
from stanch.respond.actions.drop_slot.run import DROP_SLOT
from stanch.respond.library import shipped_runbooks
from stanch.respond.planner import plan_for
from stanch.steps.world import World

LONG_AGO = AT - timedelta(seconds=UNUSED_S_MIN + 1)
PATRONI = PatroniSource(url="http://orders-1.example.com:8008")
ONE = step(
    "drop_slot",
    slot="cdc",
    slot_type="logical",
    plugin="pgoutput",
    database="app",
    restart_lsn="0/3000000",
    confirmed_flush_lsn="0/3000038",
    unused_since=LONG_AGO.isoformat(),
)
SLOT = ReplicationSlot(
    name="cdc",
    plugin="pgoutput",
    slot_type="logical",
    database="app",
    temporary=False,
    active=False,
    restart_lsn="0/3000000",
    confirmed_flush_lsn="0/3000038",
    inactive_since=None,
    synced=False,
    in_recovery=False,
    at=AT,
    patroni=False,
    row="{}",
)


def asked(
    seen: ReplicationSlot | Missing | None,
    one: PlannedStep = ONE,
    *,
    target: TargetPolicy = TARGET,
    peers: tuple[str, ...] = (),
) -> Refusal | ReplicationSlot:
    return may_drop(one, seen, target=target, peers=peers)


def test_the_slot_that_was_diagnosed_may_be_dropped() -> None:
    assert asked(SLOT) is SLOT
    since_long = replace(SLOT, inactive_since=LONG_AGO)
    assert asked(since_long) is since_long
    assert asked(SLOT, peers=("orders-2", "cd")) is SLOT


@pytest.mark.parametrize(
    ("seen", "guard"),
    [
        pytest.param(None, "still_there", id="gone"),
        pytest.param(Missing(what="x", reason="no answer"), "still_there", id="not read"),
        pytest.param(replace(SLOT, restart_lsn=""), "still_there", id="lost what it kept"),
        pytest.param(replace(SLOT, slot_type="physical"), "same_slot", id="another type"),
        pytest.param(replace(SLOT, plugin="wal2json"), "same_slot", id="another plugin"),
        pytest.param(replace(SLOT, database="App"), "same_slot", id="another database"),
        pytest.param(replace(SLOT, restart_lsn="0/3000001"), "same_slot", id="moved"),
        pytest.param(replace(SLOT, confirmed_flush_lsn="0/3000039"), "same_slot", id="confirmed"),
        pytest.param(replace(SLOT, active=True), "not_used", id="in use"),
        pytest.param(replace(SLOT, temporary=True), "not_used", id="of a session"),
        pytest.param(
            replace(SLOT, inactive_since=AT - timedelta(minutes=59)), "long_unused", id="of late"
        ),
        pytest.param(
            replace(SLOT, inactive_since=AT + timedelta(minutes=5)), "long_unused", id="the future"
        ),
        pytest.param(replace(SLOT, in_recovery=True), "on_primary", id="a standby"),
        pytest.param(replace(SLOT, synced=True), "on_primary", id="a copy"),
        pytest.param(replace(SLOT, patroni=True), "not_managed", id="Patroni is seen"),
    ],
)
def test_whatever_is_not_that_forgotten_slot_is_left_alone(
    seen: ReplicationSlot | Missing | None, guard: str
) -> None:
    answer = asked(seen)
    assert isinstance(answer, Refusal)
    assert answer.guard == guard
    assert guard in {one.name for one in GUARDS}


@pytest.mark.parametrize("since", [None, "", "yesterday", "2026-01-01T00:00:00"])
def test_a_slot_of_which_nobody_knows_since_when_it_is_unused_is_left_alone(since: Scalar) -> None:
    one = replace(ONE, params=tuple({**dict(ONE.params), "unused_since": since}.items()))
    answer = asked(SLOT, one)
    assert isinstance(answer, Refusal)
    assert answer.guard == "long_unused"


def test_a_slot_that_patroni_or_a_server_of_the_cluster_owns_is_left_alone() -> None:
    patroni = replace(TARGET, patroni=PATRONI)
    for answer in (
        asked(SLOT, target=patroni),
        asked(replace(SLOT, name="orders_2"), peers=("Orders-2",)),
        PLANNING.withheld(ONE, diagnose(d.CASES["slot_inactive"]).causes[0], patroni),
    ):
        assert isinstance(answer, Refusal)
        assert answer.guard == "not_managed"


@pytest.mark.parametrize("answer", ["[]", "null", '{"slot": "x"}', "{"])
def test_an_answer_that_is_none_is_no_slot(answer: str) -> None:
    with pytest.raises(ProbeFailed):
        parse_slot(answer)


async def test_without_an_acting_session_no_slot_is_dropped() -> None:
    refusal = await DROP_SLOT.check(ONE, bare_world())
    assert refusal is not None
    assert refusal.guard == "acting_session"


# --- from the diagnosis to the plan -------------------------------------------------------------

ALLOWED = replace(TARGET, actions={**TARGET.actions, "drop_slot": Mode.ACT})
IDENTITY = (
    w.figure("slot_plugin", None, "cdc", "pgoutput"),
    w.figure("slot_database", None, "cdc", "app"),
    w.figure("slot_restart_lsn", None, "cdc", "0/3000000"),
    w.figure("slot_confirmed_lsn", None, "cdc", "0/3000038"),
)


def forgotten(since: str, **differs: object) -> Evidence:
    figures = w.figures(
        *d.slot("cdc", 90 * w.GIB, active=False),
        *IDENTITY,
        w.figure("slot_unused_since", None, "cdc", since),
    )
    return w.healthy(**{"figures": figures, "volumes": d.wal_room(40 * w.GIB), **differs})


def planned(evidence: Evidence) -> Plan | None:
    made = plan_for(
        diagnose(evidence),
        ALLOWED,
        shipped_runbooks(),
        actions=CATALOGUE,
        at=AT,
        incident_id=IncidentId("20260314-001"),
        halted=False,
    )
    return made if isinstance(made, Plan) else None


def test_a_slot_that_was_forgotten_long_ago_is_put_to_a_person_whatever_policy_allows() -> None:
    plan = planned(forgotten(w.ago(7200).isoformat()))
    assert plan is not None
    assert plan.mode is Mode.ADVISE
    [one] = plan.steps
    assert one.action == "drop_slot"
    # Also where a runbook of one's own forgets to say so.
    assert DROP_SLOT.planning.loses_work(diagnose(forgotten(w.ago(7200).isoformat())).causes[0])
    assert {fact.name for fact in one.binding} >= {"slot", "slot_restart_lsn", "slot_confirmed_lsn"}
    assert "logical slot cdc (pgoutput, database app)" in one.preview
    assert f"{90 * w.GIB} bytes of WAL" in one.preview
    assert "copy its tables anew" in one.preview


def test_a_slot_that_was_used_within_the_hour_is_not_spoken_of() -> None:
    assert planned(forgotten(w.ago(3500).isoformat())) is None
    assert planned(forgotten("no moment")) is None


def test_a_full_volume_gets_room_before_anybody_speaks_of_the_slot() -> None:
    full = diagnose(forgotten(w.ago(7200).isoformat(), volumes=d.wal_room(0))).first
    assert full is not None
    assert (full.id, full.fact("slot_abandoned")) == ("slot_inactive", False)


def test_before_version_17_the_watch_tells_since_when_nobody_uses_it() -> None:
    kind, target = SymptomKind.SLOT_INACTIVE, TARGET.name
    symptom = Symptom(kind=kind, target=target, subject="cdc", since=w.ago(7200))
    figures = w.figures(*d.slot("cdc", 90 * w.GIB, active=False), *IDENTITY)
    room = d.wal_room(40 * w.GIB)
    plan = planned(w.healthy(figures=figures, volumes=room, symptoms=(symptom,)))
    assert plan is not None
    assert plan.steps[0].param("unused_since") == w.ago(7200).isoformat()


# --- real servers -------------------------------------------------------------------------------


async def acting_world(server: ScratchServer, root: Path) -> World:
    server.query("ALTER ROLE stanch_act REPLICATION")
    sentinel, acting = Sentinel(server.dsn("stanch_watch")), ActingSession(server.dsn("stanch_act"))
    assert (await sentinel.connect(deadline_s=5.0)).answers
    assert (await acting.connect(deadline_s=5.0)).answers
    return real_world(server, root, sessions=(sentinel, acting))


def made(server: ScratchServer, name: str) -> dict[str, Any]:
    """A physical slot that keeps WAL, as a diagnosis would tell it."""
    server.query("SELECT pg_create_physical_replication_slot(%s, true)", [name])
    [(lsn,)] = server.query(
        "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = %s", [name]
    )
    return {
        "slot": name,
        "slot_type": "physical",
        "restart_lsn": lsn,
        "unused_since": LONG_AGO.isoformat(),
    }


def left(server: ScratchServer) -> list[str]:
    rows = server.query("SELECT slot_name::text FROM pg_replication_slots ORDER BY 1")
    return [str(name) for (name,) in rows]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_that_slot_is_dropped_alone_and_only_while_it_stands_where_it_stood(
    server: ScratchServer, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    facts = made(server, "old"), made(server, "other")

    def moves() -> Refusal | None:
        server.query("SELECT pg_switch_wal()")
        server.query("SELECT pg_replication_slot_advance('old', pg_current_wal_lsn())")
        return None

    one = step("drop_slot", **facts[0])
    halted = await DROP_SLOT.act(one, world, permits(0))
    assert isinstance(halted, Refusal)
    moved = await DROP_SLOT.act(one, world, moves)
    assert isinstance(moved, Refusal)
    assert moved.guard == "same_slot"
    assert left(server) == ["old", "other"]
    assert not (await DROP_SLOT.verify(one, world)).ok

    done, log = await run(DROP_SLOT, step("drop_slot", **facts[1]), world)

    assert done.outcome is StepOutcome.DONE, (done.refusal, log.ended())
    assert log.verified().ok
    assert '"slot_name":"other"' in log.ended().before
    assert left(server) == ["old"]
    again, _log = await run(DROP_SLOT, step("drop_slot", **facts[1]), world)
    assert again.refusal is not None
    assert again.refusal.guard == "still_there"

    doubtful = replace(world, actor=RecordingActor(Acted(outcome="in_doubt", detail="no answer")))
    now = step("drop_slot", **{**facts[0], **restart_of(server, "old")})
    report = await DROP_SLOT.act(now, doubtful, always)
    assert not isinstance(report, Refusal)
    assert report.outcome is StepOutcome.IN_DOUBT
    server.query("ALTER ROLE stanch_act NOREPLICATION")
    refused, log = await run(DROP_SLOT, now, world)
    assert refused.outcome is StepOutcome.FAILED
    assert "REPLICATION" in log.ended().detail
    assert left(server) == ["old"]


def restart_of(server: ScratchServer, name: str) -> dict[str, Any]:
    [(lsn,)] = server.query(
        "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = %s", [name]
    )
    return {"restart_lsn": lsn}


@pytest.mark.parametrize("pg_major", [18], indirect=True)
async def test_a_newer_server_tells_itself_that_the_slot_was_used_of_late(
    server: ScratchServer, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    refusal = await DROP_SLOT.check(step("drop_slot", **made(server, "young")), world)
    assert refusal is not None
    assert refusal.guard == "long_unused"
