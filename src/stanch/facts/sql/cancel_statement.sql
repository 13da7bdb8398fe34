-- Cancel one statement if, and only if, it is still the very one that was diagnosed.
-- Check and signal are one statement: the session may have gone on to another by now. What is left is
-- the moment between the signal and its arrival; a statement that begins in it is cancelled instead,
-- and whoever runs it has to run it again.
-- Parameters: pid, backend_start, query_start; while_waiting: it must still wait for a lock.
-- Privilege: pg_monitor to see the session, pg_signal_backend to cancel; a superuser's statement only
-- a superuser cancels (the server refuses with 42501, and nothing has happened then).
-- Never: a session known by its pid alone, the asking session, or anything but a client's.
WITH target AS MATERIALIZED (
    SELECT a.pid
    FROM pg_stat_get_activity(%(pid)s::int) AS a
    WHERE a.pid = %(pid)s::int
        AND a.pid <> pg_backend_pid()
        AND a.backend_type = 'client backend'
        AND a.state = 'active'
        AND a.backend_start = %(backend_start)s::timestamptz
        AND a.query_start = %(query_start)s::timestamptz
        AND (NOT %(while_waiting)s::boolean OR a.wait_event_type = 'Lock')
),
cancelled AS MATERIALIZED (
    SELECT pg_cancel_backend(pid) AS signalled FROM target
)
SELECT json_build_object(
    'matched', EXISTS (SELECT FROM target),
    'signalled', COALESCE((SELECT bool_and(signalled) FROM cancelled), false)
)::text AS outcome
