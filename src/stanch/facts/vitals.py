"""The vital signs of a server: the statement and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stanch.facts.reading import Answer, read_object
from stanch.facts.sql import load
from stanch.model.vitals import (
    ArchiverVitals,
    ConnectionLimit,
    SenderVitals,
    ServerSettings,
    SessionGroup,
    SessionVitals,
    SlotVitals,
    StandbyVitals,
    Vitals,
    WorkCounters,
)

VITALS_SQL: Final = load("vitals")
"""One statement, one row, one JSON value; takes no parameters. PostgreSQL 13 to 18.

Cost: prepared, with 1,000 sessions of which 200 wait for locks, 3.8 ms of server CPU on version 15
and 3.5 ms on 18 (50 sessions: 0.4 ms), and 0.35 ms of the client's CPU with parsing. Planning
costs another 5 ms, so keep it prepared on the session that asks. On versions 13 and 14 the server
may have to wait for its statistics collector to write a file.
Privilege: none to run, pg_monitor to see all of it.
"""


def parse_vitals(payload: str | bytes | Mapping[str, object]) -> Vitals:
    """What the answer to VITALS_SQL says.

    Raises: ProbeFailed, where the answer is not what the statement gives.
    """
    answer = read_object(dict(payload) if isinstance(payload, Mapping) else payload, "vitals")
    sessions, archiver = answer.part_or_none("sessions"), answer.part_or_none("archiver")
    standby = answer.part_or_none("standby")
    return Vitals(
        at=answer.moment("at"),
        postmaster_start=answer.moment("postmaster_start"),
        version_num=answer.whole("version_num"),
        in_recovery=answer.flag("in_recovery"),
        transaction_read_only=answer.flag("transaction_read_only"),
        sees_sessions=answer.flag("sees_sessions"),
        settings=_settings(answer.part("settings")),
        backends=answer.whole("backends"),
        sessions=None if sessions is None else _sessions(sessions),
        work=_work(answer.part("work")),
        archiver=None if archiver is None else _archiver(archiver),
        slots=tuple(_slot(slot) for slot in answer.parts("slots")),
        senders=tuple(_sender(sender) for sender in answer.parts("senders")),
        standby=None if standby is None else _standby(standby),
        xid_age_max=answer.whole_or_none("xid_age_max"),
        mxid_age_max=answer.whole_or_none("mxid_age_max"),
        prepared_xacts=answer.whole("prepared_xacts"),
        oldest_prepared_xact_age_s=answer.age_s("oldest_prepared_xact_age_s"),
        timeline=answer.whole_or_none("timeline"),
        wal_lsn=answer.text_or_none("wal_lsn"),
        wal_position_bytes=answer.whole_or_none("wal_position_bytes"),
    )


def _settings(part: Answer) -> ServerSettings:
    return ServerSettings(
        max_connections=part.whole("max_connections"),
        superuser_reserved_connections=part.whole("superuser_reserved_connections"),
        reserved_connections=part.whole_or_none("reserved_connections"),
        data_directory=part.text_or_none("data_directory"),
    )


def _sessions(part: Answer) -> SessionVitals:
    return SessionVitals(
        client_backends=part.whole("client_backends"),
        active=part.whole("active"),
        active_without_wait=part.whole("active_without_wait"),
        waiting_on_lock=part.whole("waiting_on_lock"),
        oldest_lock_wait_s=part.age_s("oldest_lock_wait_s"),
        oldest_xact_age_s=part.age_s("oldest_xact_age_s"),
        oldest_work_xact_age_s=part.age_s("oldest_work_xact_age_s"),
        oldest_dump_xact_age_s=part.age_s("oldest_dump_xact_age_s"),
        oldest_query_age_s=part.age_s("oldest_query_age_s"),
        oldest_idle_in_transaction_s=part.age_s("oldest_idle_in_transaction_s"),
        by_state=part.counts("by_state"),
        by_wait=part.counts("by_wait"),
        autovacuum_workers=part.whole_or_none("autovacuum_workers"),
        oldest_autovacuum_xact_age_s=part.age_s("oldest_autovacuum_xact_age_s"),
        groups=tuple(
            SessionGroup(
                application_name=group.text("application_name"),
                usename=group.text("usename"),
                datname=group.text("datname"),
                state=group.text("state") or "unknown",
                sessions=group.whole("sessions"),
                oldest_state_age_s=group.age_s("oldest_state_age_s"),
            )
            for group in part.parts("groups")
        ),
        limits=tuple(
            ConnectionLimit(
                scope=limit.text("scope"),
                name=limit.text("name"),
                used=limit.whole("used"),
                allowed=limit.whole("allowed"),
            )
            for limit in part.parts("limits")
        ),
    )


def _work(part: Answer) -> WorkCounters:
    return WorkCounters(
        commits=part.whole("commits"),
        rollbacks=part.whole("rollbacks"),
        deadlocks=part.whole("deadlocks"),
        temp_files=part.whole("temp_files"),
        temp_bytes=part.whole("temp_bytes"),
        checksum_failures=part.whole_or_none("checksum_failures"),
        rows_updated=part.whole_or_none("rows_updated"),
        rows_deleted=part.whole_or_none("rows_deleted"),
        sessions=part.whole_or_none("sessions"),
    )


def _archiver(part: Answer) -> ArchiverVitals:
    return ArchiverVitals(
        archives=part.flag("archives"),
        segment_bytes=part.whole("segment_bytes"),
        archived_count=part.whole("archived_count"),
        failed_count=part.whole("failed_count"),
        last_archived_at=part.moment_or_none("last_archived_at"),
        last_failed_at=part.moment_or_none("last_failed_at"),
        last_failed_wal=part.text_or_none("last_failed_wal"),
    )


def _slot(part: Answer) -> SlotVitals:
    return SlotVitals(
        name=part.text("name"),
        slot_type=part.text("slot_type"),
        active=part.flag("active"),
        wal_status=part.text_or_none("wal_status"),
        retained_bytes=part.whole_or_none("retained_bytes"),
        unconfirmed_bytes=part.whole_or_none("unconfirmed_bytes"),
        inactive_since=part.moment_or_none("inactive_since"),
    )


def _sender(part: Answer) -> SenderVitals:
    return SenderVitals(
        pid=part.whole("pid"),
        application_name=part.text_or_none("application_name"),
        client_addr=part.text_or_none("client_addr"),
        state=part.text_or_none("state"),
        sync_state=part.text_or_none("sync_state"),
        sent_lag_bytes=part.whole_or_none("sent_lag_bytes"),
        write_lag_bytes=part.whole_or_none("write_lag_bytes"),
        flush_lag_bytes=part.whole_or_none("flush_lag_bytes"),
        replay_lag_bytes=part.whole_or_none("replay_lag_bytes"),
        write_lag_s=part.age_s("write_lag_s"),
        flush_lag_s=part.age_s("flush_lag_s"),
        replay_lag_s=part.age_s("replay_lag_s"),
    )


def _standby(part: Answer) -> StandbyVitals:
    return StandbyVitals(
        receiver_status=part.text_or_none("receiver_status"),
        receiver_silent_s=part.age_s("receiver_silent_s"),
        received_bytes_to_replay=part.whole_or_none("received_bytes_to_replay"),
        last_replayed_xact_age_s=part.age_s("last_replayed_xact_age_s"),
        replay_paused=part.flag("replay_paused"),
        sender_host=part.text_or_none("sender_host"),
        sender_port=part.whole_or_none("sender_port"),
    )
