-- The ten sessions whose transaction, or statement, has been open for longest, as a JSON list.
-- Privilege: pg_read_all_stats (in pg_monitor); without it other roles' sessions are not in it.
SELECT COALESCE(json_agg(s ORDER BY s.xact_age_s DESC NULLS LAST, s.pid), '[]'::json)::text
    AS sessions
FROM (
    SELECT
        a.pid, a.usename, a.datname, a.application_name, a.state,
        a.wait_event_type, a.wait_event,
        extract(epoch FROM clock_timestamp() - a.xact_start) AS xact_age_s,
        CASE WHEN a.state = 'active'
            THEN extract(epoch FROM clock_timestamp() - a.query_start) END AS query_age_s,
        extract(epoch FROM clock_timestamp() - a.state_change) AS state_age_s,
        left(a.query, 300) AS query
    FROM pg_stat_activity AS a
    WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
        AND a.xact_start < clock_timestamp() - interval '1 second'
    ORDER BY a.xact_start LIMIT 10
) AS s
