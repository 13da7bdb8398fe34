-- How far WAL is flushed to disk, and how many sessions wait for it to go on; asked again and again
-- within a second. Null on a standby. PostgreSQL 13 to 18; some names of waits differ by version.
-- Privilege: pg_monitor (without it nobody is seen waiting).
-- Cost: one reading of the sessions.
SELECT json_build_object(
    'flushed', CASE
        WHEN pg_is_in_recovery() THEN NULL
        ELSE (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::float8
    END,
    'waiting', (
        SELECT count(*) FROM pg_stat_get_activity(NULL) AS a
        WHERE a.wait_event_type IN ('IO', 'LWLock')
            AND upper(a.wait_event) IN ('WALSYNC', 'WALWRITE', 'WALINITSYNC', 'WALINITWRITE')
    )
)::text AS flushing
