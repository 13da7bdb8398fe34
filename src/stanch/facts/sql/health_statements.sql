-- The ten statements that took most time in all, without their texts, as one JSON object.
-- Needs the extension pg_stat_statements, version 1.8 or newer, and its schema on the search path.
-- Privilege: pg_read_all_stats (in pg_monitor); other roles' statements have no id without it.
SELECT json_build_object(
    'statements', count(*),
    'total_ms', sum(total_exec_time),
    'largest', (
        SELECT json_agg(t ORDER BY t.total_ms DESC)
        FROM (
            SELECT
                s.queryid::text AS queryid, d.datname AS database, r.rolname AS role, s.calls,
                s.total_exec_time AS total_ms, s.mean_exec_time AS mean_ms,
                s.max_exec_time AS max_ms, s.rows
            FROM pg_stat_statements(false) AS s
            LEFT JOIN pg_database AS d ON d.oid = s.dbid
            LEFT JOIN pg_roles AS r ON r.oid = s.userid
            WHERE s.queryid IS NOT NULL
            ORDER BY s.total_exec_time DESC LIMIT 10
        ) AS t
    )
)::text AS statements
FROM pg_stat_statements(false)
