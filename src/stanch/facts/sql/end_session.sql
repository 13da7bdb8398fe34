-- End one client session if, and only if, it is still the very session that was diagnosed.
-- Check and signal are one statement: the pid alone may belong to somebody else by now.
-- Parameters: pid, backend_start; idle_since (or null): it must be idle, and since exactly then;
-- xact_start (or null): it must be inside the transaction begun exactly then;
-- while_idle_in_transaction: it must be at no work in that transaction.
-- Privilege: pg_monitor to see the session, pg_signal_backend to end it; a superuser's session
-- only a superuser ends (the server refuses with 42501, and nothing has happened then).
-- Never: a session known by its pid alone, the asking session, or anything but a client's.
WITH target AS MATERIALIZED (
    SELECT a.pid
    FROM pg_stat_get_activity(%(pid)s::int) AS a
    WHERE a.pid = %(pid)s::int
        AND a.pid <> pg_backend_pid()
        AND a.backend_type = 'client backend'
        AND a.backend_start = %(backend_start)s::timestamptz
        AND (
            %(idle_since)s::timestamptz IS NULL
            OR (a.state = 'idle' AND a.state_change = %(idle_since)s::timestamptz)
        )
        AND (
            %(xact_start)s::timestamptz IS NULL
            OR a.xact_start = %(xact_start)s::timestamptz
        )
        AND (
            NOT %(while_idle_in_transaction)s::boolean
            OR a.state IN ('idle in transaction', 'idle in transaction (aborted)')
        )
),
ended AS MATERIALIZED (
    SELECT pg_terminate_backend(pid) AS signalled FROM target
)
SELECT json_build_object(
    'matched', EXISTS (SELECT FROM target),
    'signalled', COALESCE((SELECT bool_and(signalled) FROM ended), false)
)::text AS outcome
