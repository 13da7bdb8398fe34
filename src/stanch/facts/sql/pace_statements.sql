-- What the statements that run now have cost so far, and those that took most time in all, without
-- their texts; asked twice about a second apart. One place is filled in: the schema of the extension
-- pg_stat_statements, 1.8 or newer.
-- Privilege: pg_read_all_stats (in pg_monitor); other roles' statements have no id without it.
-- Cost: one pass over the entries in shared memory; the file of texts is not read.
WITH every AS MATERIALIZED (
    SELECT
        queryid::text AS queryid, sum(calls)::bigint AS calls, sum(total_exec_time) AS total_ms
    FROM {schema}.pg_stat_statements(false)
    WHERE queryid IS NOT NULL GROUP BY queryid
),
running AS (
    -- From version 14 on.
    SELECT to_json(a) ->> 'query_id' AS queryid
    FROM pg_stat_activity AS a WHERE a.state = 'active' AND a.pid <> pg_backend_pid()
)
SELECT json_build_object('statements', (
    SELECT json_agg(s ORDER BY s.queryid)
    FROM (
        (SELECT * FROM every WHERE queryid IN (SELECT queryid FROM running))
        UNION
        (SELECT * FROM every ORDER BY total_ms DESC, queryid LIMIT 20)
    ) AS s
))::text AS pace
