"""Two servers under Patroni: its store goes, its leader goes, or it goes itself."""

from __future__ import annotations

import signal
from dataclasses import replace

from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means import words
from stanch.drill.lab.means.daemons import asked
from stanch.drill.lab.means.patroni import (
    CONF,
    PROGRAMS,
    cluster_of,
    failed_over,
    hang,
    run_by_patroni,
)
from stanch.drill.lab.means.standbys import bulk_table, write
from stanch.drill.lab.rig import Rig

RECOVERS_SQL = "SELECT 1 WHERE pg_is_in_recovery()"
DEMOTED_S = 60.0


def _demoted(rig: Rig) -> None:
    """Wait until the leader has become a server that only reads. Raises: NotMade."""
    rig.until(lambda: rig.admin(RECOVERS_SQL), seconds=DEMOTED_S)


# --- the store ----------------------------------------------------------------------------------


def _store_dies(rig: Rig) -> None:
    store = cluster_of(rig).store
    # The whole machine at once, or its service in order.
    rig.rng.choice((store.kill, store.end))()
    _demoted(rig)


def _store_hangs(rig: Rig) -> None:
    hang(rig, cluster_of(rig).store)
    _demoted(rig)


def _failsafe(rig: Rig) -> None:
    """The leader may go on without the store, as long as every member answers it."""
    cluster = cluster_of(rig)
    cluster.configure({"failsafe_mode": True})

    def agreed() -> bool:
        told = asked(cluster.first.http, "GET", f"{cluster.first.url}/failsafe")
        return cluster.second.name in told

    rig.until(agreed)


def _store_and_member_go(rig: Rig) -> None:
    cluster = cluster_of(rig)
    cluster.second.patroni.kill()
    cluster.store.kill()
    _demoted(rig)


# --- the leader ---------------------------------------------------------------------------------


def _service_stopped(rig: Rig) -> None:
    """Stopping Patroni stops its server; the other one takes over at once."""
    cluster_of(rig).first.patroni.end()
    if rig.server.postmaster_pid() is not None:
        raise NotMade("the server lives on without its Patroni")
    failed_over(rig)


def _does_not_come_back(rig: Rig) -> None:
    """A script has changed the mode of the data directory; then somebody restarts the member."""
    member, data = cluster_of(rig).first, rig.server.data_directory
    data.chmod(rig.rng.choice((0o755, 0o775, 0o777)))
    rig.undo(lambda: data.chmod(0o700))
    # Its answer comes when it has failed, which may take longer than anybody waits.
    asked(member.http, "POST", f"{member.url}/restart", {})
    rig.until(lambda: rig.server.postmaster_pid() is None, seconds=DEMOTED_S)
    failed_over(rig)
    rig.until(lambda: rig.server.postmaster_pid() is None)


def _killed_in_maintenance(rig: Rig) -> None:
    cluster_of(rig).pause(rig)
    rig.server.kill()
    rig.until(lambda: not rig.server.processes())


# --- who leads ----------------------------------------------------------------------------------


def _fails_over_at_once(rig: Rig) -> None:
    """Rather another leader than waiting for this one; and nobody rewinds anything."""
    cluster_of(rig).configure(
        {"primary_start_timeout": 0, "postgresql": {"use_pg_rewind": False, "use_slots": True}}
    )


def _fails_over_with_rows_missing(rig: Rig) -> None:
    """The standby is cut off, rows are committed, the primary crashes."""
    rig.server.add_hba("host replication all 127.0.0.1/32 reject")
    rig.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    rig.until(lambda: not rig.admin("SELECT pid FROM pg_stat_replication"))
    write(rig, bulk_table(rig), rig.rng.randint(1, 6))
    rig.server.kill()
    failed_over(rig)
    rig.logged("forked off", seconds=DEMOTED_S)


def _patroni_dies_alone(rig: Rig) -> None:
    """Nobody renews the leader's key: after its time the other one takes it."""
    patroni = cluster_of(rig).first.patroni
    if rig.rng.random() < 0.5:
        patroni.send(signal.SIGKILL)
    else:
        hang(rig, patroni)
    failed_over(rig)
    if rig.admin(RECOVERS_SQL):
        raise NotMade("the old primary is none any more")


def _application_left_behind(rig: Rig) -> None:
    """The leader was changed in order, for maintenance; one application has a fixed address."""
    table = bulk_table(rig)
    rig.sql(f"CREATE TABLE {table} (id bigint, body text)")
    cluster = cluster_of(rig)
    wanted = {"leader": cluster.first.name, "candidate": cluster.second.name}
    asked(cluster.first.http, "POST", f"{cluster.first.url}/switchover", wanted)
    failed_over(rig)
    _demoted(rig)
    sql = f"INSERT INTO {table} VALUES (1, 'z')"
    for _ in range(rig.rng.randint(1, 4)):
        rig.keep_asking(
            sql, application=words.application(rig.rng), pause_s=rig.rng.uniform(0.1, 0.5)
        )
    rig.logged("in a read-only transaction")


NEEDS = Needs(
    conf=CONF, standby=True, programs=PROGRAMS, run_by="patroni", prepare=(run_by_patroni,)
)

FAULTS = (
    Fault(
        id="patroni-store-gone",
        area=Area.REPLICATION,
        story="etcd went down; Patroni could not renew the leader's key and made the primary"
        " read-only.",
        causes=("cluster_leaderless",),
        make=_store_dies,
        needs=NEEDS,
        shows_after_s=3.0,
        answers=False,
    ),
    Fault(
        id="patroni-store-hangs",
        area=Area.REPLICATION,
        story="The machine of etcd stood still and answered nobody; Patroni made the primary"
        " read-only.",
        causes=("cluster_leaderless",),
        make=_store_hangs,
        needs=NEEDS,
        shows_after_s=3.0,
        answers=False,
    ),
    Fault(
        id="patroni-failsafe-member-gone",
        area=Area.REPLICATION,
        story="etcd and the standby's Patroni went down together; in failsafe mode the primary"
        " needs every member, and became read-only.",
        causes=("cluster_leaderless",),
        make=_store_and_member_go,
        needs=replace(NEEDS, prepare=(run_by_patroni, _failsafe)),
        shows_after_s=3.0,
        answers=False,
    ),
    Fault(
        id="patroni-stopped-on-leader",
        area=Area.REPLICATION,
        story="Somebody stopped Patroni's service on the leader: its server stopped with it, and"
        " the standby took over.",
        causes=("stopped_cleanly",),
        make=_service_stopped,
        needs=NEEDS,
        answers=False,
    ),
    Fault(
        id="patroni-leader-cannot-start",
        area=Area.REPLICATION,
        story="A script changed the mode of the data directory; the leader's next restart failed,"
        " and the standby took over.",
        causes=("cannot_start",),
        make=_does_not_come_back,
        needs=NEEDS,
        answers=False,
    ),
    Fault(
        id="patroni-paused-leader-killed",
        area=Area.REPLICATION,
        story="The leader's server was killed while Patroni was in maintenance mode: nobody starts"
        " it again, and nobody takes over.",
        causes=("killed",),
        make=_killed_in_maintenance,
        needs=NEEDS,
        answers=False,
    ),
    Fault(
        id="patroni-old-leader-diverged",
        area=Area.REPLICATION,
        story="The primary crashed with rows that the standby lacked, which took over; the old one"
        " cannot follow it, and nobody rewinds it.",
        causes=("timeline_diverged",),
        make=_fails_over_with_rows_missing,
        needs=replace(NEEDS, prepare=(run_by_patroni, _fails_over_at_once)),
        shows_after_s=3.0,
        answers=False,
    ),
    Fault(
        id="patroni-dies-on-leader",
        area=Area.REPLICATION,
        story="Patroni died on the leader and its server went on; when its key had run out the"
        " standby was promoted as well.",
        causes=("standby_promoted",),
        make=_patroni_dies_alone,
        needs=NEEDS,
        shows_after_s=3.0,
        seen_on="standby",
    ),
    Fault(
        id="patroni-switchover-application-stays",
        area=Area.REPLICATION,
        story="After a switchover in order an application went on writing to the old leader, which"
        " only reads now.",
        causes=("standby_written_to",),
        make=_application_left_behind,
        needs=NEEDS,
        shows_after_s=3.0,
        answers=False,
    ),
)
