-- The backends behind a pooler's connections, and what the server has left for more of them.
-- Parameters: pids, the text of an array. Privilege: pg_monitor (without it states are hidden).
-- Source: pg_stat_activity, pg_roles, pg_database, settings. Cost: one reading of all sessions.
WITH clients AS (
    SELECT a.pid, a.client_port, a.backend_start, a.state, a.wait_event_type, a.usesysid, a.datid
    FROM pg_stat_activity AS a
    WHERE a.backend_type = 'client backend'
), pooled AS (
    SELECT c.* FROM clients AS c WHERE c.pid = ANY (%(pids)s::int[])
), limits_left AS (
    SELECT r.rolconnlimit - (SELECT count(*) FROM clients AS c WHERE c.usesysid = r.oid) AS n
    FROM pg_roles AS r
    WHERE r.rolconnlimit >= 0 AND r.oid IN (SELECT p.usesysid FROM pooled AS p)
    UNION ALL
    SELECT d.datconnlimit - (SELECT count(*) FROM clients AS c WHERE c.datid = d.oid)
    FROM pg_database AS d
    WHERE d.datconnlimit >= 0 AND d.oid IN (SELECT p.datid FROM pooled AS p)
)
SELECT json_build_object(
    'usable', current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - COALESCE(current_setting('reserved_connections', true)::int, 0),
    'taken', (SELECT count(*) FROM clients),
    'limits_left', (SELECT CASE WHEN min(l.n) < 0 THEN 0 ELSE min(l.n) END FROM limits_left AS l),
    'sessions', COALESCE((
        SELECT json_agg(json_build_object(
            'pid', p.pid,
            'client_port', p.client_port,
            'backend_start', p.backend_start,
            'state', p.state,
            'wait_event_type', p.wait_event_type
        )) FROM pooled AS p
    ), '[]'::json)
)::text AS answer
