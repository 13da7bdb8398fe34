-- One table of the database that is asked in, by its oid, with all that speaks against seeing to it.
-- Parameters: oid. Privilege: of the acting role, whose rights are told, too; pg_monitor to see who
-- holds vacuum back. PostgreSQL 13 to 18. Cost: one reading of the locks and of the sessions.
-- Never: a function that takes a lock on the table; sizes are what VACUUM and ANALYZE noted last.
WITH horizon AS (
    -- Who keeps dead rows of this database from being removed, by how many transactions.
    SELECT
        'session' AS kind, COALESCE(NULLIF(application_name, ''), 'session')
            || ' (pid ' || pid || ', ' || COALESCE(state, backend_type, '') || ')' AS who,
        greatest(age(backend_xid), age(backend_xmin)) AS xids,
        extract(epoch FROM clock_timestamp() - xact_start) AS held_s
    FROM pg_stat_activity
    WHERE pid <> pg_backend_pid()
        AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
        AND (datname = current_database() OR backend_type = 'walsender')
        AND query !~* '^\s*(autovacuum: )?vacuum\y(?!.*analyze)'
    UNION ALL
    SELECT 'slot', 'replication slot ' || slot_name, age(xmin), NULL
    FROM pg_replication_slots WHERE xmin IS NOT NULL
    UNION ALL
    SELECT
        'prepared', 'prepared transaction ' || gid, age(transaction),
        extract(epoch FROM clock_timestamp() - prepared)
    FROM pg_prepared_xacts WHERE database = current_database()
),
oldest AS (
    SELECT who, xids, held_s FROM horizon ORDER BY xids DESC, held_s DESC NULLS LAST, who LIMIT 1
),
lock AS (
    -- Held or waited for: whoever comes later queues behind either.
    SELECT
        l.mode || CASE WHEN l.granted THEN ' of ' ELSE ' wanted by ' END
            || COALESCE(NULLIF(a.backend_type, 'client backend'), 'session')
            || COALESCE(' ' || l.pid, ' (prepared transaction)') AS told
    FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.relation = %(oid)s::oid
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND l.mode IN (
            'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
            'AccessExclusiveLock'
        )
    ORDER BY l.granted DESC, l.pid LIMIT 1
)
SELECT COALESCE((
    SELECT json_build_object(
        'oid', c.oid::bigint,
        'schema', n.nspname,
        'table', c.relname,
        'quoted', quote_ident(n.nspname) || '.' || quote_ident(c.relname),
        'ordinary', c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND NOT c.relisshared,
        'in_recovery', pg_is_in_recovery(),
        'may_maintain', (NOT c.relisshared AND pg_has_role(d.datdba, 'USAGE'))
            OR pg_has_role(c.relowner, 'USAGE')
            OR CASE WHEN current_setting('server_version_num')::int >= 170000
                THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END,
        'role', current_user,
        'version_num', current_setting('server_version_num')::int,
        'bytes', (c.relpages::bigint + COALESCE(toast.relpages, 0))
            * current_setting('block_size')::bigint,
        'xid_age', greatest(age(c.relfrozenxid), age(toast.relfrozenxid)),
        'analyzed', greatest(
            pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)
        ),
        'vacuumed', greatest(
            pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)
        ),
        'dead_rows', pg_stat_get_dead_tuples(c.oid),
        'locked', (SELECT told FROM lock),
        'holder', oldest.who,
        'holder_xids', oldest.xids,
        'holder_s', oldest.held_s
    )
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_database AS d ON d.datname = current_database()
    LEFT JOIN pg_class AS toast ON toast.oid = c.reltoastrelid
    LEFT JOIN oldest ON true
    WHERE c.oid = %(oid)s::oid
), '{}'::json)::text AS answer
