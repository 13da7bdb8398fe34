-- What a diagnosis asks beside the vital signs: transactions that stay open without doing anything,
-- prepared ones, and the settings that decide how much WAL is kept.
-- Privilege: pg_monitor (without it no other session's state is visible and the list is empty).
-- Cost: one reading of the sessions; once per diagnosis, never on a timer.
SELECT json_build_object(
    'idle', COALESCE((
        SELECT json_agg(json_build_object(
            'pid', s.pid,
            'backend_start', s.backend_start,
            'backend_type', s.backend_type,
            'usename', s.usename,
            'datname', s.datname,
            'application_name', s.application_name,
            'state', s.state,
            'xact_start', s.xact_start,
            'state_change', s.state_change,
            'state_age_s', extract(epoch FROM clock_timestamp() - s.state_change)
        ) ORDER BY s.state_change, s.pid)
        FROM (
            SELECT * FROM pg_stat_activity
            WHERE state IN ('idle in transaction', 'idle in transaction (aborted)')
                AND pid <> pg_backend_pid()
            ORDER BY state_change, pid LIMIT 5
        ) AS s
    ), '[]'::json),
    'prepared', COALESCE((
        SELECT json_agg(json_build_object(
            'gid', p.gid,
            'usename', p.owner,
            'datname', p.database,
            'prepared', p.prepared,
            'age_s', extract(epoch FROM clock_timestamp() - p.prepared)
        ) ORDER BY p.prepared, p.gid)
        FROM (SELECT * FROM pg_prepared_xacts ORDER BY prepared, gid LIMIT 5) AS p
    ), '[]'::json),
    'archive_mode', current_setting('archive_mode') <> 'off',
    'wal_keep_bytes', pg_size_bytes(current_setting('wal_keep_size')),
    'wal_segment_bytes', pg_size_bytes(current_setting('wal_segment_size'))
)::text AS open_transactions
