-- Some sessions by their pids, with what they do and what their end would lose, as a JSON list.
-- Parameters: pids, as numbers with commas between. Privilege: pg_monitor (without it what others
-- do is hidden, and they are left alone). PostgreSQL 13 to 18. Cost: one reading of the sessions.
SELECT COALESCE(json_agg(
    json_build_object(
        'pid', a.pid,
        'backend_start', a.backend_start,
        'backend_type', a.backend_type,
        'usename', a.usename,
        'datname', a.datname,
        'application_name', a.application_name,
        'client_addr', host(a.client_addr),
        'state', a.state,
        'state_change', a.state_change,
        'state_age_s', extract(epoch FROM clock_timestamp() - a.state_change),
        'has_written', a.backend_xid IS NOT NULL,
        'superuser', r.rolsuper,
        'replicates', w.pid IS NOT NULL,
        'query', left(a.query, 200)
    )
    ORDER BY a.state_change, a.pid
), '[]'::json)::text AS sessions
FROM pg_stat_activity AS a
LEFT JOIN pg_roles AS r ON r.oid = a.usesysid
LEFT JOIN pg_stat_get_wal_senders() AS w ON w.pid = a.pid
WHERE a.pid = ANY (string_to_array(%(pids)s::text, ',')::int[]) AND a.pid <> pg_backend_pid()
