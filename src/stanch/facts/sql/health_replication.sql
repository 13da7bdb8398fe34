-- Who receives this server's WAL, which slots keep it, and from whom it receives its own.
-- Privilege: pg_monitor for everything; without it receivers are counted and no more.
WITH place AS MATERIALIZED (
    SELECT CASE
        WHEN pg_is_in_recovery() THEN COALESCE(pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn())
        ELSE pg_current_wal_insert_lsn()
    END AS lsn
)
SELECT json_build_object(
    'in_recovery', pg_is_in_recovery(),
    'receivers', (
        SELECT json_agg(json_build_object(
            'name', r.application_name, 'address', host(r.client_addr), 'state', r.state,
            'sync_state', r.sync_state,
            'replay_lag_s', extract(epoch FROM r.replay_lag),
            'replay_lag_bytes', pg_wal_lsn_diff(place.lsn, r.replay_lsn)::bigint,
            'replays', r.replay_lsn IS NOT NULL
        ) ORDER BY r.application_name, r.pid)
        FROM pg_stat_replication AS r
    ),
    'slots', (
        SELECT json_agg(json_build_object(
            'name', s.slot_name, 'type', s.slot_type, 'active', s.active,
            'wal_status', s.wal_status,
            'safe_bytes', s.safe_wal_size,
            'retained_bytes', pg_wal_lsn_diff(place.lsn, s.restart_lsn)::bigint
        ) ORDER BY s.slot_name)
        FROM pg_replication_slots AS s
    ),
    'source', (
        SELECT json_build_object(
            'status', w.status, 'host', w.sender_host,
            'heard_age_s', extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)
        )
        FROM pg_stat_wal_receiver AS w LIMIT 1
    ),
    'replay_age_s', CASE WHEN pg_is_in_recovery()
        THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END,
    'replayed_all', CASE WHEN pg_is_in_recovery()
        THEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() END,
    'replay_paused', CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END
)::text AS replication
FROM place
