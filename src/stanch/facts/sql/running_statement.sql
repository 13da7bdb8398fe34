-- One session, by its pid, with the statement that it runs.
-- Parameters: pid. Privilege: pg_monitor (without it the statement and its times are hidden).
-- Cost: one reading of one session. Answers `{}` where nobody has that pid.
SELECT COALESCE((
    SELECT json_build_object(
        'pid', a.pid,
        'backend_start', a.backend_start,
        'query_start', a.query_start,
        'backend_type', a.backend_type,
        'state', a.state,
        'wait_event_type', a.wait_event_type,
        'usename', r.rolname,
        'datname', d.datname,
        'application_name', a.application_name,
        'query_age_s', extract(epoch FROM clock_timestamp() - a.query_start),
        'query', left(a.query, 500)
    )
    FROM pg_stat_get_activity(%(pid)s::int) AS a
    LEFT JOIN pg_roles AS r ON r.oid = a.usesysid
    LEFT JOIN pg_database AS d ON d.oid = a.datid
    WHERE a.pid = %(pid)s::int
), '{}'::json)::text AS answer
