-- What statements have cost: the 25 that took most time in all and the 25 that ran most often,
-- without their texts, as one JSON object. Two places are filled in: the schema of the extension
-- and, from its version 1.9 on, its own counters. Needs pg_stat_statements 1.8 or newer.
-- Privilege: pg_read_all_stats (in pg_monitor); other roles' statements have no id without it.
-- Cost: one pass over the entries in shared memory; the file of texts is not read.
WITH every AS MATERIALIZED (
    SELECT * FROM {schema}.pg_stat_statements(false)
),
chosen AS MATERIALIZED (
    (SELECT * FROM every WHERE queryid IS NOT NULL ORDER BY total_exec_time DESC LIMIT 25)
    UNION
    (SELECT * FROM every WHERE queryid IS NOT NULL ORDER BY calls DESC LIMIT 25)
)
SELECT json_build_object(
    'statements', (SELECT count(*) FROM every),
    'total_ms', (SELECT sum(total_exec_time) FROM every),
    'sees_all', pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
    'info', {info},
    'largest', (
        SELECT json_agg(t ORDER BY t.total_ms DESC)
        FROM (
            SELECT
                s.queryid::text AS queryid, s.userid::bigint AS userid, s.dbid::bigint AS dbid,
                d.datname AS database, r.rolname AS role, s.calls,
                s.total_exec_time AS total_ms, s.mean_exec_time AS mean_ms,
                s.max_exec_time AS max_ms, s.rows,
                -- Columns of some versions only.
                COALESCE((to_json(s) ->> 'toplevel')::boolean, true) AS top_level,
                extract(epoch FROM (to_json(s) ->> 'stats_since')::timestamptz) AS since
            FROM chosen AS s
            LEFT JOIN pg_database AS d ON d.oid = s.dbid
            LEFT JOIN pg_roles AS r ON r.oid = s.userid
        ) AS t
    )
)::text AS statements
