-- The vital signs of one server, as one JSON value.
-- Privilege: pg_monitor. Without pg_read_all_stats everything about other sessions is null, without
-- pg_read_all_settings the data directory is; the statement itself never fails for want of a right.
-- Never: a per-relation function, pg_settings (a scan of every setting), or a second reading of the
-- sessions. pg_locks is read only while somebody waits for a lock.
WITH me AS MATERIALIZED (
    SELECT
        clock_timestamp() AS at,
        pg_is_in_recovery() AS in_recovery,
        pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_sessions,
        pg_has_role(current_user, 'pg_read_all_settings', 'USAGE') AS sees_settings
),
position AS MATERIALIZED (
    SELECT CASE
        WHEN me.in_recovery THEN COALESCE(pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn())
        ELSE pg_current_wal_insert_lsn()
    END AS lsn
    FROM me
),
-- The functions beneath pg_stat_activity and pg_stat_replication: each view would read the array of
-- all sessions again and join names to every row; here names are joined to the twenty groups.
backend AS MATERIALIZED (
    SELECT
        a.pid, a.pid <> pg_backend_pid() AS other, a.backend_type,
        a.datid, a.usesysid, a.application_name, a.client_addr,
        a.state, a.wait_event_type, a.wait_event, a.xact_start, a.query_start, a.state_change,
        -- Tools that have to hold one transaction for hours, by the names they give themselves.
        a.xact_start IS NOT NULL AND left(a.application_name, 7)
            IN ('pg_dump', 'pgBackR', 'barman', 'barman_', 'wal-g') AS dumps
    FROM pg_stat_get_activity(NULL) AS a
    WHERE a.backend_type IN ('client backend', 'walsender', 'autovacuum worker')
),
client AS MATERIALIZED (
    SELECT * FROM backend WHERE backend_type = 'client backend'
),
totals AS MATERIALIZED (
    SELECT
        count(*) AS client_backends,
        count(*) FILTER (WHERE other AND state = 'active') AS active,
        count(*) FILTER (WHERE other AND state = 'active' AND wait_event IS NULL)
            AS active_without_wait,
        count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting_on_lock,
        min(state_change) FILTER (WHERE wait_event_type = 'Lock') AS lock_wait_since_at_earliest,
        min(xact_start) FILTER (WHERE other) AS oldest_xact_start,
        min(xact_start) FILTER (WHERE other AND NOT dumps) AS oldest_work_xact_start,
        min(xact_start) FILTER (WHERE other AND dumps) AS oldest_dump_xact_start,
        min(query_start) FILTER (
            WHERE other AND NOT dumps AND state = 'active'
            AND wait_event_type IS DISTINCT FROM 'Lock'
        ) AS oldest_query_start,
        min(state_change) FILTER (
            WHERE state IN ('idle in transaction', 'idle in transaction (aborted)')
        ) AS oldest_idle_in_transaction_since
    FROM client
),
lock_wait AS MATERIALIZED (
    -- waitstart exists from version 14 on; to_json keeps the statement one for all versions.
    SELECT CASE WHEN totals.waiting_on_lock > 0 THEN COALESCE(
        (
            SELECT min((to_json(l) ->> 'waitstart')::timestamptz)
            FROM pg_locks AS l WHERE NOT l.granted
        ),
        totals.lock_wait_since_at_earliest
    ) END AS since
    FROM totals
),
waits AS (
    SELECT json_object_agg(wait, n) AS by_wait
    FROM (
        SELECT COALESCE(wait_event_type, 'none') AS wait, count(*) AS n
        FROM client WHERE other AND state = 'active' GROUP BY wait_event_type
    ) AS w
),
vacuums AS (
    SELECT count(*) AS workers, min(xact_start) AS oldest_xact_start
    FROM backend WHERE backend_type = 'autovacuum worker'
),
states AS (
    SELECT json_object_agg(COALESCE(state, 'unknown'), n) AS by_state
    FROM (SELECT state, count(*) AS n FROM client GROUP BY state) AS s
),
groups AS (
    SELECT json_agg(
        json_build_object(
            'application_name', g.application_name, 'usename', r.rolname, 'datname', d.datname,
            'state', g.state, 'sessions', g.sessions,
            'oldest_state_age_s', extract(epoch FROM me.at - g.since)
        )
        ORDER BY g.sessions DESC, g.application_name, r.rolname, d.datname, g.state
    ) AS list
    FROM me, (
        SELECT
            application_name, usesysid, datid, state,
            count(*) AS sessions, min(state_change) AS since
        FROM client
        GROUP BY application_name, usesysid, datid, state
        ORDER BY count(*) DESC, application_name, usesysid, datid, state
        LIMIT 20
    ) AS g
    LEFT JOIN pg_roles AS r ON r.oid = g.usesysid
    LEFT JOIN pg_database AS d ON d.oid = g.datid
),
limits AS (
    SELECT json_agg(
        l ORDER BY l.used::float8 / greatest(l.allowed, 1) DESC, l.scope, l.name
    ) AS list
    FROM (
        SELECT
            'role' AS scope, r.rolname AS name,
            count(c.usesysid) AS used, r.rolconnlimit AS allowed
        FROM pg_roles AS r LEFT JOIN client AS c ON c.usesysid = r.oid
        WHERE r.rolconnlimit >= 0
        GROUP BY r.oid, r.rolname, r.rolconnlimit
        UNION ALL
        SELECT 'database', d.datname, count(c.datid), d.datconnlimit
        FROM pg_database AS d LEFT JOIN client AS c ON c.datid = d.oid
        WHERE d.datconnlimit >= 0
        GROUP BY d.oid, d.datname, d.datconnlimit
        ORDER BY 3 DESC LIMIT 20
    ) AS l
    -- A limit of 0 is how people switch a role off; nobody is kept out who was let in before.
    WHERE l.used > 0 AND l.used >= l.allowed * 0.8
),
work AS (
    SELECT
        sum(numbackends) AS backends, sum(xact_commit) AS commits, sum(xact_rollback) AS rollbacks,
        sum(deadlocks) AS deadlocks, sum(temp_files) AS temp_files, sum(temp_bytes) AS temp_bytes,
        sum(checksum_failures) AS checksum_failures,
        sum(tup_updated) AS rows_updated, sum(tup_deleted) AS rows_deleted,
        -- Counted since 14; a column that is not there must not fail the question on 13.
        sum((to_json(d) ->> 'sessions')::bigint) AS sessions
    FROM pg_stat_database AS d
),
ages AS (
    SELECT
        max(age(datfrozenxid)) FILTER (WHERE datfrozenxid <> '0') AS xid_age_max,
        max(mxid_age(datminmxid)) FILTER (WHERE datminmxid <> '0') AS mxid_age_max
    FROM pg_database
),
slots AS (
    SELECT json_agg(s ORDER BY s.retained_bytes DESC NULLS LAST, s.name) AS list
    FROM (
        SELECT
            slot_name AS name, slot_type, active, wal_status,
            pg_wal_lsn_diff((SELECT lsn FROM position), restart_lsn) AS retained_bytes,
            pg_wal_lsn_diff((SELECT lsn FROM position), confirmed_flush_lsn) AS unconfirmed_bytes,
            -- From version 17 on.
            extract(epoch FROM (to_json(r) ->> 'inactive_since')::timestamptz) AS inactive_since
        FROM pg_replication_slots AS r
    ) AS s
),
senders AS (
    SELECT json_agg(s ORDER BY s.application_name, s.pid) AS list
    FROM (
        SELECT
            w.pid, b.application_name, host(b.client_addr) AS client_addr, w.state, w.sync_state,
            pg_wal_lsn_diff(p.lsn, w.sent_lsn) AS sent_lag_bytes,
            pg_wal_lsn_diff(p.lsn, w.write_lsn) AS write_lag_bytes,
            pg_wal_lsn_diff(p.lsn, w.flush_lsn) AS flush_lag_bytes,
            pg_wal_lsn_diff(p.lsn, w.replay_lsn) AS replay_lag_bytes,
            extract(epoch FROM w.write_lag) AS write_lag_s,
            extract(epoch FROM w.flush_lag) AS flush_lag_s,
            extract(epoch FROM w.replay_lag) AS replay_lag_s
        FROM position AS p, pg_stat_get_wal_senders() AS w LEFT JOIN backend AS b ON b.pid = w.pid
        ORDER BY w.pid LIMIT 100
    ) AS s
),
standby AS (
    -- The age of the last replayed transaction says nothing while there is nothing to replay, and
    -- nothing again where no receiver runs: then nobody here knows what there would be.
    SELECT CASE WHEN me.in_recovery THEN json_build_object(
        'receiver_status', r.status,
        'receiver_silent_s', extract(epoch FROM me.at - r.last_msg_receipt_time),
        'received_bytes_to_replay',
        pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()),
        'last_replayed_xact_age_s',
        extract(epoch FROM me.at - pg_last_xact_replay_timestamp()),
        'replay_paused', pg_is_wal_replay_paused(),
        'sender_host', r.sender_host, 'sender_port', r.sender_port, 'timeline', r.received_tli
    ) END AS part
    FROM me LEFT JOIN pg_stat_get_wal_receiver() AS r ON r.pid IS NOT NULL
),
prepared AS (
    SELECT count(*) AS n, min(prepared) AS oldest FROM pg_prepared_xacts
)
SELECT json_build_object(
    'at', extract(epoch FROM me.at),
    'postmaster_start', extract(epoch FROM pg_postmaster_start_time()),
    'version_num', current_setting('server_version_num')::int,
    'in_recovery', me.in_recovery,
    'transaction_read_only', current_setting('transaction_read_only')::bool,
    'sees_sessions', me.sees_sessions,
    'settings', json_build_object(
        'max_connections', current_setting('max_connections')::int,
        'superuser_reserved_connections', current_setting('superuser_reserved_connections')::int,
        'reserved_connections', current_setting('reserved_connections', true)::int,
        'data_directory', CASE WHEN me.sees_settings THEN current_setting('data_directory') END
    ),
    'backends', work.backends,
    'sessions', CASE WHEN me.sees_sessions THEN json_build_object(
        'client_backends', totals.client_backends,
        'active', totals.active,
        'active_without_wait', totals.active_without_wait,
        'waiting_on_lock', totals.waiting_on_lock,
        'oldest_lock_wait_s', extract(epoch FROM me.at - lock_wait.since),
        'oldest_xact_age_s', extract(epoch FROM me.at - totals.oldest_xact_start),
        'oldest_work_xact_age_s', extract(epoch FROM me.at - totals.oldest_work_xact_start),
        'oldest_dump_xact_age_s', extract(epoch FROM me.at - totals.oldest_dump_xact_start),
        'oldest_query_age_s', extract(epoch FROM me.at - totals.oldest_query_start),
        'oldest_idle_in_transaction_s',
        extract(epoch FROM me.at - totals.oldest_idle_in_transaction_since),
        'by_state', states.by_state,
        'by_wait', waits.by_wait,
        'autovacuum_workers', vacuums.workers,
        'oldest_autovacuum_xact_age_s', extract(epoch FROM me.at - vacuums.oldest_xact_start),
        'groups', groups.list,
        'limits', limits.list
    ) END,
    'work', json_build_object(
        'commits', work.commits, 'rollbacks', work.rollbacks, 'deadlocks', work.deadlocks,
        'temp_files', work.temp_files, 'temp_bytes', work.temp_bytes,
        'checksum_failures', work.checksum_failures,
        'rows_updated', work.rows_updated, 'rows_deleted', work.rows_deleted,
        'sessions', work.sessions
    ),
    'archiver', (
        SELECT json_build_object(
            'archives', current_setting('archive_mode') = 'always'
                OR (current_setting('archive_mode') = 'on' AND NOT pg_is_in_recovery()),
            'segment_bytes', pg_size_bytes(current_setting('wal_segment_size')),
            'archived_count', archived_count, 'failed_count', failed_count,
            'last_archived_at', extract(epoch FROM last_archived_time),
            'last_failed_at', extract(epoch FROM last_failed_time),
            'last_failed_wal', last_failed_wal
        )
        FROM pg_stat_archiver
    ),
    'slots', slots.list,
    'senders', senders.list,
    'standby', standby.part,
    'xid_age_max', ages.xid_age_max,
    'mxid_age_max', ages.mxid_age_max,
    'prepared_xacts', prepared.n,
    'oldest_prepared_xact_age_s', extract(epoch FROM me.at - prepared.oldest),
    -- The name of a WAL file begins with the timeline; there is none to be had in recovery.
    'timeline', CASE
        WHEN me.in_recovery THEN (standby.part ->> 'timeline')::int
        ELSE ('x' || left(pg_walfile_name(position.lsn), 8))::bit(32)::int
    END,
    'wal_lsn', position.lsn,
    'wal_position_bytes', pg_wal_lsn_diff(position.lsn, '0/0')
)::text AS vitals
FROM
    me, position, totals, lock_wait, states, waits, vacuums, groups, limits, work, ages, slots,
    senders, standby, prepared
