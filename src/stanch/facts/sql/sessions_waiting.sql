-- Everybody who waits for a heavyweight lock and everybody they wait for, as a JSON list.
-- Privilege: pg_monitor (without it no other session is visible and the list is empty).
-- Cost: pg_blocking_pids() holds all partitions of the lock table for a moment, so it is called for
-- at most 200 waiters, longest statement first, and this statement belongs into a diagnosis, not
-- on a timer. A waiter beyond the 200 has blocked_by null: "not looked up", never "nobody".
-- In blocked_by the number 0 stands for prepared transactions.
WITH session AS MATERIALIZED (
    SELECT
        a.*, a.wait_event_type IS NOT DISTINCT FROM 'Lock' AS waits
    FROM pg_stat_activity AS a
    WHERE a.pid <> pg_backend_pid()
),
looked_up AS MATERIALIZED (
    SELECT pid, array_remove(pg_blocking_pids(pid), NULL) AS blocked_by
    FROM (
        SELECT pid FROM session WHERE waits ORDER BY state_change NULLS LAST LIMIT 200
    ) AS w
),
blocker AS MATERIALIZED (
    SELECT DISTINCT unnest(blocked_by) AS pid FROM looked_up
),
lock AS MATERIALIZED (
    SELECT
        l.pid,
        bool_or(l.granted AND l.locktype = 'advisory') AS holds_advisory,
        -- waitstart exists from version 14 on.
        min((to_json(l) ->> 'waitstart')::timestamptz) FILTER (WHERE NOT l.granted) AS waiting_since
    FROM pg_locks AS l
    WHERE NOT l.granted OR l.locktype = 'advisory'
    GROUP BY l.pid
)
SELECT COALESCE(json_agg(
    json_build_object(
        'pid', s.pid,
        'backend_start', s.backend_start,
        'backend_type', s.backend_type,
        'usename', s.usename,
        'datname', s.datname,
        'application_name', s.application_name,
        'client_addr', host(s.client_addr),
        'state', s.state,
        'wait_event_type', s.wait_event_type,
        'wait_event', s.wait_event,
        'xact_start', s.xact_start,
        'query_start', s.query_start,
        'state_change', s.state_change,
        'state_age_s', extract(epoch FROM clock_timestamp() - s.state_change),
        'xact_age_s', extract(epoch FROM clock_timestamp() - s.xact_start),
        'waits', s.waits,
        'wait_age_s', CASE WHEN s.waits THEN
            extract(epoch FROM clock_timestamp() - COALESCE(l.waiting_since, s.state_change))
        END,
        'blocked_by', CASE WHEN s.waits THEN to_json(k.blocked_by) ELSE '[]'::json END,
        'holds_advisory_lock', COALESCE(l.holds_advisory, false),
        'query', left(s.query, 500)
    )
    ORDER BY s.pid
), '[]'::json)::text AS sessions
FROM session AS s
LEFT JOIN looked_up AS k ON k.pid = s.pid
LEFT JOIN lock AS l ON l.pid = s.pid
WHERE s.waits OR s.pid IN (SELECT pid FROM blocker)
