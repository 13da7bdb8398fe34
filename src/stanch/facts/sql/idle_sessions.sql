-- Idle client sessions with everything that would make ending them harmful, as a JSON list.
-- Privilege: pg_monitor (without it the list is empty).
-- Cost: one reading each of pg_stat_activity, pg_locks and pg_class of the current database.
-- listens: PostgreSQL shows nobody another session's channels. `yes`: its last statement is LISTEN.
--   `no_sign`: it never ran a statement, or its last one dropped every channel, or neither it nor
--   any session alike (same role, database and application) was last seen listening. Otherwise
--   `unknown`, which excludes like `yes`.
-- temp_tables: proven for sessions of the current database only. From version 16 on the schema
--   pg_temp_N names the session's backend number; before, N is known only for sessions inside a
--   transaction, so one temporary table whose owner is not among those makes everybody unknown.
WITH session AS MATERIALIZED (
    SELECT
        a.*,
        a.query ~* '^[\s(;]*listen\M' AS heard_listen,
        a.query ~* '^[\s(;]*(discard\s+all|unlisten\s+\*)[\s;]*$' AS dropped_channels,
        a.query ~* '\mlisten\M' AS mentions_listen
    FROM pg_stat_activity AS a
    WHERE a.backend_type IN ('client backend', 'walsender') AND a.pid <> pg_backend_pid()
),
listening AS MATERIALIZED (
    SELECT DISTINCT usesysid, datid, application_name FROM session WHERE heard_listen
),
advisory AS MATERIALIZED (
    SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory'
),
-- Backend numbers. Before version 16 the numbers of pg_stat_get_backend_idset() count positions
-- in a list, not backends; there only the virtual transaction of a running transaction tells.
numbered AS MATERIALIZED (
    SELECT pg_stat_get_backend_pid(n) AS pid, n
    FROM pg_stat_get_backend_idset() AS n
    WHERE current_setting('server_version_num')::int >= 160000
    UNION
    SELECT l.pid, split_part(l.virtualtransaction, '/', 1)::int
    FROM pg_locks AS l
    WHERE current_setting('server_version_num')::int < 160000
        AND l.locktype = 'virtualxid' AND l.granted AND l.pid IS NOT NULL
),
temp AS MATERIALIZED (
    SELECT DISTINCT substring(n.nspname FROM '^pg_temp_([0-9]+)$')::int AS n
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relpersistence = 't' AND n.nspname ~ '^pg_temp_[0-9]+$'
),
unowned AS MATERIALIZED (
    SELECT count(*) AS n FROM temp WHERE temp.n NOT IN (SELECT n FROM numbered)
)
SELECT COALESCE(json_agg(
    json_build_object(
        'pid', s.pid,
        'backend_start', s.backend_start,
        'backend_number', b.n,
        'usename', s.usename,
        'datname', s.datname,
        'database_oid', s.datid::bigint,
        'application_name', s.application_name,
        'client_addr', host(s.client_addr),
        'state', s.state,
        'state_change', s.state_change,
        'idle_s', extract(epoch FROM clock_timestamp() - s.state_change),
        'superuser', r.rolsuper,
        'replicates', s.backend_type = 'walsender' OR w.pid IS NOT NULL,
        'holds_advisory_lock', v.pid IS NOT NULL,
        'listens', CASE
            WHEN s.heard_listen THEN 'yes'
            WHEN s.query = '' OR s.dropped_channels THEN 'no_sign'
            WHEN s.query IS NULL OR s.query = '<insufficient privilege>' OR s.mentions_listen
                OR EXISTS (
                    SELECT FROM listening AS x
                    WHERE x.usesysid = s.usesysid AND x.datid = s.datid
                        AND x.application_name = s.application_name
                ) THEN 'unknown'
            ELSE 'no_sign'
        END,
        'temp_tables', CASE
            WHEN s.datname IS DISTINCT FROM current_database() THEN 'unknown'
            WHEN b.n IN (SELECT n FROM temp) THEN 'yes'
            WHEN b.n IS NOT NULL OR unowned.n = 0 THEN 'no'
            ELSE 'unknown'
        END,
        'query', left(s.query, 200)
    )
    ORDER BY s.state_change, s.pid
), '[]'::json)::text AS sessions
FROM session AS s
CROSS JOIN unowned
LEFT JOIN numbered AS b ON b.pid = s.pid
LEFT JOIN advisory AS v ON v.pid = s.pid
LEFT JOIN pg_stat_get_wal_senders() AS w ON w.pid = s.pid
LEFT JOIN pg_roles AS r ON r.oid = s.usesysid
WHERE s.state = 'idle'
