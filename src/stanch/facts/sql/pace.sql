-- Counters of one server and of the tables of one database, asked twice about a second apart: what
-- they grew by in between is how fast the server works now. PostgreSQL 13 to 18.
-- Versions up to 14 read a file that may be half a second old; from 15 on busy sessions tell what
-- they did once a second, between transactions. A statement that runs is not counted before it ends.
-- Privilege: none. Cost: one reading of the statistics of all databases and tables.
-- Never: a function that takes a lock on a user's table.
WITH t AS MATERIALIZED (
    SELECT
        s.relid, s.schemaname || '.' || s.relname AS name,
        greatest(s.n_live_tup, c.reltuples::bigint, 0) AS rows,
        s.seq_scan AS whole_scans, s.seq_tup_read AS whole_rows,
        COALESCE(s.idx_scan, 0) AS index_scans, COALESCE(s.idx_tup_fetch, 0) AS index_rows
    FROM pg_stat_user_tables AS s JOIN pg_class AS c ON c.oid = s.relid
    WHERE s.seq_tup_read > 0 OR s.idx_tup_fetch > 0
),
chosen AS MATERIALIZED (
    (SELECT * FROM t ORDER BY whole_rows DESC, name LIMIT 25)
    UNION
    (SELECT * FROM t ORDER BY index_rows DESC, name LIMIT 25)
),
counted AS (
    -- Counters may be older than this, never younger: a crash empties those of all databases and
    -- says so at the counters of the background writer.
    SELECT greatest(
        pg_postmaster_start_time(), (SELECT max(stats_reset) FROM pg_stat_database),
        (SELECT stats_reset FROM pg_stat_bgwriter)
    ) AS since
)
SELECT json_build_object(
    'at', extract(epoch FROM clock_timestamp()),
    'counted_s', (SELECT extract(epoch FROM clock_timestamp() - since) FROM counted),
    'commits', (SELECT sum(xact_commit) FROM pg_stat_database),
    'rollbacks', (SELECT sum(xact_rollback) FROM pg_stat_database),
    -- From version 14 on.
    'sessions', (
        SELECT sum((to_json(d) ->> 'sessions')::bigint) FROM pg_stat_database AS d
    ),
    'wal_bytes', CASE WHEN NOT pg_is_in_recovery() THEN
        pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')
    END,
    -- Before version 17 under its short name.
    'subtrans_lookups', (
        SELECT sum(blks_hit + blks_read) FROM pg_stat_slru
        WHERE name IN ('Subtrans', 'subtransaction')
    ),
    'tables', (
        SELECT json_agg(json_build_object(
            'name', name, 'rows', rows, 'whole_scans', whole_scans, 'whole_rows', whole_rows,
            'index_scans', index_scans, 'index_rows', index_rows,
            -- The column that each of its usable indexes begins with.
            'indexed', (
                SELECT string_agg(DISTINCT a.attname, ' ')
                FROM pg_index AS i
                JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                WHERE i.indrelid = relid AND i.indisvalid
            )
        ) ORDER BY name)
        FROM chosen
    )
)::text AS pace
