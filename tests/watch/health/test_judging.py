"""What a check-up calls danger, what it calls worth a look, and the near misses it calls well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stanch.facts.blocking import BlockingChain
from stanch.facts.health.headroom import Aged, AgesRead, SequenceRead, SequencesRead
from stanch.facts.health.replication import Following, Receiver, ReplicationRead, Slot
from stanch.facts.health.server import BackupsRead, Override, ServerRead, SettingRead
from stanch.facts.health.space import DatabaseSize
from stanch.facts.health.work import LongSession
from stanch.facts.statements import StatementRead, StatementsRead
from stanch.facts.tables import Column, TableRead, TablesRead
from stanch.model.backups import Backup, BackupsSeen
from stanch.model.diagnosis import Missing
from stanch.watch.health.backups import backups_section
from stanch.watch.health.headroom import IDS, sequences_section, wraparound_section
from stanch.watch.health.replication import replication_section
from stanch.watch.health.report import Judgement, Line, Section, part, size
from stanch.watch.health.sessions import blocked_section, long_section
from stanch.watch.health.settings import RULES, settings_section
from stanch.watch.health.space import size_section, tables_section
from stanch.watch.health.statements import statements_section

OK, LOOK, DANGER = Judgement.OK, Judgement.LOOK, Judgement.DANGER
AT = datetime(2026, 3, 1, 3, tzinfo=UTC)


def first(section: Section) -> Line:
    line = section.lines[0]
    # Whoever is told of trouble is told why and what to do; nobody else is.
    assert (line.judgement is not OK) == bool(line.why) == bool(line.do), line
    return line


# --- settings and backups -----------------------------------------------------------------------


def server(*overrides: Override, pending: str = "", **values: str) -> ServerRead:
    told = [
        SettingRead(
            name=name, value=value, unit="", source="default", pending_restart=name == pending
        )
        for name, value in values.items()
    ]
    return ServerRead(
        at=AT,
        version="15.4",
        version_num=150004,
        started_at=AT,
        in_recovery=False,
        database="app",
        role="watch",
        sees_settings=True,
        settings=tuple(told),
        overrides=overrides,
    )


@pytest.mark.parametrize("name", RULES)
def test_every_dangerous_value_is_told_and_any_other_is_not(name: str) -> None:
    rule = RULES[name]
    assert first(settings_section(server(**{name: rule.value}))).judgement is rule.judgement
    other = settings_section(server(**{name: "something else"}))
    assert other.judgement is OK


def test_danger_comes_before_what_is_worth_a_look() -> None:
    lines = settings_section(server(data_checksums="off", fsync="off")).lines
    assert [line.what for line in lines] == ["fsync", "data_checksums"]


def test_a_setting_that_waits_for_a_restart_is_told() -> None:
    line = first(settings_section(server(pending="shared_buffers", shared_buffers="1")))
    assert (line.what, line.judgement) == ("shared_buffers", LOOK)


@pytest.mark.parametrize(
    ("ssl", "listens", "judgement"),
    [("off", "*", LOOK), ("on", "*", OK), ("off", "localhost", OK), ("off", "10.0.0.1,::", LOOK)],
)
def test_no_tls_matters_where_the_network_can_reach_it(
    ssl: str, listens: str, judgement: Judgement
) -> None:
    assert settings_section(server(ssl=ssl, listen_addresses=listens)).judgement is judgement


def test_a_role_of_its_own_danger_is_named() -> None:
    mine = Override(database="app", role="job", name="synchronous_commit", value="off")
    assert first(settings_section(server(mine))).what == (
        "synchronous_commit of role job in database app"
    )
    fine = replace(mine, value="local")
    assert settings_section(server(fine)).lines == ()


ARCHIVED = BackupsRead(
    archived_count=9,
    failed_count=0,
    last_wal="000000010000000000000009",
    last_age_s=60.0,
    last_failed_age_s=None,
    last_failed_wal=None,
    running=0,
)


@pytest.mark.parametrize(
    ("command", "changes", "judgement"),
    [
        ("backup-tool push %p", {}, OK),
        ("backup-tool push %p", {"last_age_s": 25 * 3600.0}, LOOK),
        ("backup-tool push %p", {"last_failed_age_s": 5.0}, DANGER),
        ("backup-tool push %p", {"last_failed_age_s": 120.0}, OK),
        ("/bin/true", {}, DANGER),
        ("true # archive later", {}, DANGER),
        ("trueblue push %p", {}, OK),
        ("", {}, DANGER),
    ],
)
def test_an_archive_that_fails_or_discards_is_danger(
    command: str, changes: dict[str, float], judgement: Judgement
) -> None:
    here = server(archive_mode="on", archive_command=command)
    read = replace(ARCHIVED, **changes)  # type: ignore[arg-type]
    assert first(backups_section(read, here)).judgement is judgement


def test_no_archive_is_worth_a_look_and_a_library_needs_no_command() -> None:
    assert first(backups_section(ARCHIVED, server(archive_mode="off"))).judgement is LOOK
    library = server(archive_mode="on", archive_command="", archive_library="tool")
    assert first(backups_section(ARCHIVED, library)).judgement is OK


def dump(hours: float, size_bytes: int = 1000, **more: object) -> Backup:
    at = AT - timedelta(hours=hours)
    made = Backup(name=f"app-{hours}.dump", kind="dump", at=at, size_bytes=size_bytes)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("backups", "judgement"),
    [
        ([dump(3), dump(27), dump(51)], OK),
        ([dump(23.9)], OK),
        ([dump(24)], LOOK),
        ([dump(24 * 7)], DANGER),
        ([dump(3, 400), dump(27), dump(51)], LOOK),
        ([dump(3, 600), dump(27), dump(51)], OK),
        ([dump(1, running=True), dump(3)], OK),
        ([dump(1, fault="cut off"), dump(3)], LOOK),
        ([dump(3, fault="cut off")], DANGER),
        ([], DANGER),
    ],
)
def test_the_newest_good_backup_is_judged_by_age_and_size(
    backups: list[Backup], judgement: Judgement
) -> None:
    seen = BackupsSeen(backups=tuple(backups))
    here = server(archive_mode="on", archive_library="t")
    section = backups_section(ARCHIVED, here, [("", seen)])
    assert first(section).judgement is judgement


def test_a_folder_that_cannot_be_read_is_no_backup() -> None:
    gone = Missing(what="backups", reason="there is no such folder")
    line = first(backups_section(ARCHIVED, server(archive_mode="off"), [("", gone)]))
    assert (line.judgement, line.why) == (DANGER, "there is no such folder.")


def test_a_link_to_latest_that_leads_nowhere_is_worth_a_look() -> None:
    seen = BackupsSeen(backups=(dump(3),), latest_fault="it leads to nothing")
    line = first(backups_section(ARCHIVED, server(archive_mode="off"), [("", seen)]))
    assert (line.judgement, line.detail) == (LOOK, "it leads to nothing")
    assert line.why == "`latest` does not lead to it."


def test_of_several_places_each_is_judged_under_its_own_name() -> None:
    near = BackupsSeen(backups=(dump(3),))
    ill = BackupsSeen(backups=(dump(3),), problem="repo2: missing stanza path")
    gone = Missing(what="backups", reason="s3 offsite: the secret key is wrong")
    places = [("/near", near), ("pgbackrest orders", ill), ("s3 offsite", gone)]
    lines = backups_section(ARCHIVED, server(archive_mode="off"), places).lines[:3]
    assert [(line.what, line.judgement) for line in lines] == [
        ("newest backup app-3.dump in /near", OK),
        ("newest backup app-3.dump in pgbackrest orders", LOOK),
        ("newest backup in s3 offsite", DANGER),
    ]
    assert lines[1].detail == "repo2: missing stanza path"


# --- replication --------------------------------------------------------------------------------

RECEIVER = Receiver(
    name="db2",
    address="10.0.0.2",
    state="streaming",
    sync_state="async",
    replay_lag_s=0.1,
    replay_lag_bytes=1000,
    replays=True,
)
SLOT = Slot(
    name="s",
    kind="physical",
    active=True,
    wal_status="reserved",
    safe_bytes=None,
    retained_bytes=1000,
)
FOLLOWING = Following(
    status="streaming",
    host="db1",
    heard_age_s=1.0,
    replay_age_s=9999.0,
    replayed_all=True,
    paused=False,
)


def replicated(
    *, receiver: Receiver | None = None, slot: Slot | None = None, limit: str = "1000"
) -> Section:
    receivers = (receiver,) if receiver else ()
    slots = (slot,) if slot else ()
    read = ReplicationRead(receivers=receivers, slots=slots, following=None)
    return replication_section(read, slot_limit=limit)


@pytest.mark.parametrize(
    ("changes", "judgement"),
    [
        ({}, OK),
        ({"replay_lag_s": 29.9}, OK),
        ({"replay_lag_s": 30.0}, LOOK),
        ({"replay_lag_s": 301.0}, DANGER),
        ({"replay_lag_s": None}, OK),
        ({"replay_lag_bytes": 2**30}, LOOK),
        ({"replay_lag_bytes": 2**30, "replays": False}, OK),
    ],
)
def test_a_receiver_is_judged_by_time_and_by_bytes(
    changes: dict[str, object], judgement: Judgement
) -> None:
    one = replace(RECEIVER, **changes)  # type: ignore[arg-type]
    assert first(replicated(receiver=one)).judgement is judgement


@pytest.mark.parametrize(
    ("changes", "judgement"),
    [
        ({}, OK),
        ({"active": False}, LOOK),
        ({"retained_bytes": 2**31}, LOOK),
        ({"retained_bytes": 2**31, "active": False}, DANGER),
        ({"wal_status": "unreserved"}, DANGER),
        ({"wal_status": "lost", "retained_bytes": None}, DANGER),
        ({"wal_status": "extended"}, OK),
    ],
)
def test_a_slot_is_judged_by_what_it_keeps_and_whether_anybody_reads_it(
    changes: dict[str, object], judgement: Judgement
) -> None:
    one = replace(SLOT, **changes)  # type: ignore[arg-type]
    assert first(replicated(slot=one)).judgement is judgement


def test_slots_without_a_limit_are_worth_a_look_and_no_slots_are_not() -> None:
    assert replicated(slot=SLOT, limit="-1").judgement is LOOK
    assert replicated(limit="-1").judgement is OK


@pytest.mark.parametrize(
    ("changes", "judgement"),
    [
        ({}, OK),
        ({"replayed_all": False, "replay_age_s": 10.0}, OK),
        ({"replayed_all": False, "replay_age_s": 40.0}, LOOK),
        ({"replayed_all": False, "replay_age_s": 400.0}, DANGER),
        ({"heard_age_s": 90.0}, LOOK),
        ({"paused": True}, DANGER),
        ({"status": ""}, LOOK),
    ],
)
def test_a_standby_of_an_idle_primary_is_not_behind(
    changes: dict[str, object], judgement: Judgement
) -> None:
    one = replace(FOLLOWING, **changes)  # type: ignore[arg-type]
    read = ReplicationRead(receivers=(), slots=(), following=one)
    assert first(replication_section(read, slot_limit=None)).judgement is judgement


# --- sessions -----------------------------------------------------------------------------------

SESSION = LongSession(
    pid=7,
    usename="app",
    datname="app",
    application_name="web",
    state="active",
    wait_event="",
    xact_age_s=10.0,
    query_age_s=10.0,
    state_age_s=10.0,
    query="SELECT 1",
)


@pytest.mark.parametrize(
    ("changes", "judgement"),
    [
        ({}, OK),
        ({"xact_age_s": 59.0}, OK),
        ({"xact_age_s": 60.0}, LOOK),
        ({"xact_age_s": 3600.0}, DANGER),
        ({"state": "idle in transaction", "state_age_s": 59.0, "xact_age_s": 900.0}, OK),
        ({"state": "idle in transaction (aborted)", "state_age_s": 60.0}, LOOK),
        ({"state": "idle in transaction", "state_age_s": 1800.0}, DANGER),
    ],
)
def test_a_transaction_is_judged_by_its_age_and_an_idle_one_by_its_idleness(
    changes: dict[str, object], judgement: Judgement
) -> None:
    one = replace(SESSION, **changes)  # type: ignore[arg-type]
    assert first(long_section([one])).judgement is judgement


@pytest.mark.parametrize(("wait_s", "judgement"), [(4.9, OK), (5.0, LOOK), (60.0, DANGER)])
def test_a_queue_is_judged_by_its_longest_wait(wait_s: float, judgement: Judgement) -> None:
    chain = BlockingChain(root_pid=0, root=None, waiters=(8, 9), oldest_wait_s=wait_s)
    line = first(blocked_section([chain]))
    assert line.judgement is judgement
    assert "prepared transaction" in line.what


# --- what runs out, what is large ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "judgement"), [(0.1, OK), (0.249, OK), (0.25, LOOK), (0.5, DANGER)]
)
def test_ids_are_judged_by_the_part_that_is_used(used: float, judgement: Judgement) -> None:
    databases = (
        Aged(name="young", kind="database", xid_age=5),
        Aged(name="old", kind="database", xid_age=round(used * IDS)),
    )
    line = first(wraparound_section(AgesRead(databases=databases, tables=(), holders=())))
    assert line.judgement is judgement
    assert "database old" in line.value


def sequence(used: float, *, cycles: bool = False, max_value: int = 2**31 - 1) -> SequencesRead:
    one = SequenceRead(
        schema="public",
        name="s",
        owner="t.id",
        last_value=1,
        max_value=max_value,
        cycles=cycles,
        used=used,
    )
    return SequencesRead(sequences=1, read=1, locked=0, forbidden=0, nearest=(one,))


@pytest.mark.parametrize(("used", "judgement"), [(0.749, OK), (0.75, LOOK), (0.9, DANGER)])
def test_a_sequence_is_judged_by_the_part_that_is_used(used: float, judgement: Judgement) -> None:
    assert first(sequences_section(sequence(used))).judgement is judgement


def test_a_sequence_that_begins_anew_never_ends() -> None:
    assert first(sequences_section(sequence(0.99, cycles=True))).judgement is OK


def test_what_to_do_about_a_sequence_depends_on_what_ends() -> None:
    assert "bigint" in first(sequences_section(sequence(0.95))).do
    assert "MAXVALUE" in first(sequences_section(sequence(0.95, max_value=100))).do


def test_sequences_nobody_may_read_are_missing_and_not_fine() -> None:
    read = SequencesRead(sequences=4, read=0, locked=0, forbidden=4, nearest=())
    assert "4 may not be read" in sequences_section(read).missing
    none = SequencesRead(sequences=0, read=0, locked=0, forbidden=0, nearest=())
    assert sequences_section(none).missing == ""


TABLE = TableRead(
    schema="public",
    name="t",
    pages=50_000,
    index_pages=10,
    toast_pages=0,
    rows=3_500_000.0,
    live_rows=3_500_000,
    dead_rows=0,
    vacuumed_at=AT - timedelta(days=2),
    fillfactor=100,
    columns=(
        Column(fixed_bytes=8, aligned_to=8, mean_bytes=8.0, null_share=0.0),
        Column(fixed_bytes=-1, aligned_to=4, mean_bytes=70.0, null_share=0.0),
    ),
)


@pytest.mark.parametrize(
    ("changes", "judgement"),
    [
        ({}, OK),
        ({"rows": 1_000_000.0}, LOOK),
        ({"rows": 1_000_000.0, "columns": ()}, OK),
        ({"rows": 10.0, "pages": 5_000}, OK),
        ({"dead_rows": 2_000_000}, LOOK),
        ({"dead_rows": 500_000}, OK),
        ({"dead_rows": 9_000, "live_rows": 10}, OK),
    ],
)
def test_a_table_is_judged_by_dead_rows_and_empty_room_that_are_worth_it(
    changes: dict[str, object], judgement: Judgement
) -> None:
    one = replace(TABLE, **changes)  # type: ignore[arg-type]
    read = TablesRead(database="app", block_bytes=8192, tables=1, pages=50_010, largest=(one,))
    line = tables_section(read, at=AT).lines[1]
    assert line.judgement is judgement
    assert ("last vacuumed 2 d ago" in line.value) == (judgement is LOOK)


def test_the_size_of_this_moment_is_shown_where_it_could_be_asked() -> None:
    locked = replace(TABLE, name="locked")
    young = replace(TABLE, name="young", pages=0, index_pages=0)
    read = TablesRead(
        database="app", block_bytes=8192, tables=3, pages=100_020, largest=(TABLE, locked, young)
    )
    sizes = {"app.public.t": 3 * 2**30, "app.public.young": 2**30}
    section = tables_section(read, at=AT, sizes=sizes)
    every, now, new, before = section.lines
    assert (now.what, new.what, before.what) == ("public.t", "public.young", "public.locked")
    assert (now.value[:7], new.value[:7]) == ("3.0 GiB", "1.0 GiB")
    assert before.figures["size_bytes"] == 50_010 * 8192
    assert every.figures["size_bytes"] == 4 * 2**30 + 50_010 * 8192
    assert sum(line.share or 0 for line in (now, new, before)) == pytest.approx(1)
    assert "so do 1 that could not be asked" in section.note


def test_databases_add_up_and_one_that_may_not_be_asked_is_no_zero() -> None:
    section = size_section(
        [DatabaseSize(name="a", size_bytes=2**30), DatabaseSize(name="b", size_bytes=None)]
    )
    assert [line.value for line in section.lines] == ["1.0 GiB", "1.0 GiB", "not readable"]
    assert section.lines[2].figures == {"size_bytes": None}


@pytest.mark.parametrize(
    ("mean_ms", "calls", "judgement"),
    [(4999.0, 100, OK), (5000.0, 100, LOOK), (60_000.0, 9, OK)],
)
def test_a_statement_is_judged_by_its_mean_where_it_runs_often(
    mean_ms: float, calls: int, judgement: Judgement
) -> None:
    one = StatementRead(
        queryid="1",
        database="app",
        role="app",
        calls=calls,
        total_ms=mean_ms * calls,
        mean_ms=mean_ms,
        max_ms=mean_ms,
        rows=1,
    )
    read = StatementsRead(statements=1, total_ms=mean_ms * calls, largest=(one,))
    assert first(statements_section(read)).judgement is judgement


def test_numbers_read_as_people_say_them() -> None:
    assert [size(n) for n in (0, 1023, 1536, 2**41)] == ["0 B", "1023 B", "1.5 KiB", "2.0 TiB"]
    assert [part(s) for s in (0, 0.001, 0.5)] == ["0 %", "under 1 %", "50 %"]
