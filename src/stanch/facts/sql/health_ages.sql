-- How far transaction ids and MultiXact ids have been used up, and what keeps them from being freed.
-- Privilege: none; pg_monitor to see whose session holds the horizon back.
SELECT json_build_object(
    'databases', (
        SELECT json_agg(json_build_object(
            'name', d.datname,
            'xid_age', CASE WHEN d.datfrozenxid <> '0' THEN age(d.datfrozenxid) END,
            'mxid_age', CASE WHEN d.datminmxid <> '0' THEN mxid_age(d.datminmxid) END
        ) ORDER BY age(d.datfrozenxid) DESC)
        FROM pg_database AS d
    ),
    'tables', (
        SELECT json_agg(t ORDER BY t.xid_age DESC)
        FROM (
            SELECT n.nspname AS schema, c.relname AS name, age(c.relfrozenxid) AS xid_age
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'm', 't') AND c.relfrozenxid <> '0'
            ORDER BY age(c.relfrozenxid) DESC LIMIT 3
        ) AS t
    ),
    'holders', (
        SELECT json_agg(h ORDER BY h.xid_age DESC)
        FROM (
            SELECT 'session' AS kind, a.pid::text AS name, age(a.backend_xmin) AS xid_age
            FROM pg_stat_activity AS a
            WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()
            UNION ALL
            SELECT 'prepared transaction', p.gid, age(p.transaction) FROM pg_prepared_xacts AS p
            UNION ALL
            SELECT 'slot', s.slot_name, greatest(age(s.xmin), age(s.catalog_xmin))
            FROM pg_replication_slots AS s
            WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL
            ORDER BY 3 DESC LIMIT 3
        ) AS h
    )
)::text AS ages
