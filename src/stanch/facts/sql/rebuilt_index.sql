-- One index of the database that is asked in, by its table and name, with all that speaks against
-- building it anew. By name, because a rebuild gives it another oid.
-- Parameters: table_oid, schema, name. Privilege: of the acting role, whose rights are told, too;
-- pg_monitor to see transactions. PostgreSQL 13 to 18. Cost: one reading of locks and sessions.
-- Never: a function that takes a lock; sizes are what VACUUM and ANALYZE noted last.
WITH oldest AS (
    -- A build waits for all that were there before it, whatever they read.
    SELECT
        COALESCE(NULLIF(application_name, ''), 'session')
            || ' (pid ' || pid || ', ' || COALESCE(state, '') || ')' AS who,
        extract(epoch FROM clock_timestamp() - xact_start) AS since_s
    FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND datname = current_database() AND xact_start IS NOT NULL
        AND backend_type = 'client backend'
    UNION ALL
    SELECT
        'prepared transaction ' || gid, extract(epoch FROM clock_timestamp() - prepared)
    FROM pg_prepared_xacts WHERE database = current_database()
    ORDER BY 2 DESC, 1 LIMIT 1
)
SELECT COALESCE((
    SELECT json_build_object(
        'oid', c.oid::bigint,
        'schema', n.nspname,
        'name', c.relname,
        'quoted', quote_ident(n.nspname) || '.' || quote_ident(c.relname),
        'table', tn.nspname || '.' || t.relname,
        'valid', i.indisvalid,
        'unique', i.indisunique,
        'rebuildable', c.relkind = 'i' AND t.relpersistence <> 't' AND NOT i.indisexclusion
            AND n.nspname NOT IN ('pg_catalog', 'pg_toast'),
        'in_recovery', pg_is_in_recovery(),
        'may_rebuild', pg_has_role(c.relowner, 'USAGE')
            OR CASE WHEN current_setting('server_version_num')::int >= 170000
                THEN has_table_privilege(t.oid, 'MAINTAIN') ELSE false END,
        'role', current_user,
        'version_num', current_setting('server_version_num')::int,
        'table_bytes', t.relpages::bigint * current_setting('block_size')::bigint,
        'definition', pg_get_indexdef(c.oid),
        'locked', (
            SELECT l.mode || CASE WHEN l.granted THEN ' of ' ELSE ' wanted by ' END
                || COALESCE('pid ' || l.pid, 'a prepared transaction')
            FROM pg_locks AS l
            WHERE l.locktype = 'relation' AND l.relation IN (t.oid, c.oid) AND l.database = d.oid
                AND l.mode IN (
                    'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock',
                    'ExclusiveLock', 'AccessExclusiveLock'
                )
            ORDER BY l.granted DESC, l.pid LIMIT 1
        ),
        'left_behind', (
            SELECT string_agg(quote_ident(ln.nspname) || '.' || quote_ident(lc.relname), ', '
                ORDER BY lc.oid)
            FROM pg_index AS li
            JOIN pg_class AS lc ON lc.oid = li.indexrelid
            JOIN pg_namespace AS ln ON ln.oid = lc.relnamespace
            WHERE li.indrelid = t.oid AND NOT li.indisvalid AND lc.relname ~ '_cc(new|old)\d*$'
        ),
        'oldest', oldest.who,
        'oldest_s', oldest.since_s
    )
    FROM pg_index AS i
    JOIN pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_class AS t ON t.oid = i.indrelid
    JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
    JOIN pg_database AS d ON d.datname = current_database()
    LEFT JOIN oldest ON true
    WHERE i.indrelid = %(table_oid)s::oid AND n.nspname = %(schema)s::name
        AND c.relname = %(name)s::name
), '{}'::json)::text AS answer
