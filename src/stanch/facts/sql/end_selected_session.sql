-- End one client session if, and only if, it has done nothing at all since it was looked at: a
-- statement, a commit or a new transaction moves state_change on.
-- Check and signal are one statement: the pid alone may belong to somebody else by now.
-- Parameters: pid, backend_start, state, state_change. Answers as end_session.sql does.
-- Privilege: pg_monitor to see the session, pg_signal_backend to end it; a superuser's session
-- only a superuser ends (the server refuses with 42501, and nothing has happened then).
WITH target AS MATERIALIZED (
    SELECT a.pid
    FROM pg_stat_get_activity(%(pid)s::int) AS a
    WHERE a.pid = %(pid)s::int
        AND a.pid <> pg_backend_pid()
        AND a.backend_type = 'client backend'
        AND a.backend_start = %(backend_start)s::timestamptz
        AND a.state = %(state)s::text
        AND a.state_change = %(state_change)s::timestamptz
),
ended AS MATERIALIZED (
    SELECT pg_terminate_backend(pid) AS signalled FROM target
)
SELECT json_build_object(
    'matched', EXISTS (SELECT FROM target),
    'signalled', COALESCE((SELECT bool_and(signalled) FROM ended), false)
)::text AS outcome
