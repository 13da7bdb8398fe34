-- The largest tables of this database with what is known about their dead rows and the width of
-- their columns. How many, and from which size on, is filled in.
-- Sizes are what VACUUM and ANALYZE noted last: asking for the present ones would take a lock on
-- each table, and wait behind whoever holds one exclusively.
-- Privilege: none for sizes; columns' statistics (width, nulls) only of tables the role may read.
WITH index_pages AS MATERIALIZED (
    SELECT i.indrelid, sum(c.relpages)::bigint AS pages
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    GROUP BY i.indrelid
),
every AS MATERIALIZED (
    SELECT
        c.oid, n.nspname, c.relname, c.relkind, c.relpages, c.reltuples, c.reloptions,
        COALESCE(x.pages, 0) AS index_pages,
        COALESCE(t.relpages, 0) + COALESCE(tx.pages, 0) AS toast_pages
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid
    LEFT JOIN index_pages AS x ON x.indrelid = c.oid
    LEFT JOIN index_pages AS tx ON tx.indrelid = t.oid
    WHERE c.relkind IN ('r', 'm') AND n.nspname <> 'pg_toast'
),
largest AS MATERIALIZED (
    SELECT * FROM every WHERE relpages >= {pages_min}
    -- Of a table that was filled a moment ago only the counter of its rows knows.
    ORDER BY greatest(
        relpages::bigint + index_pages + toast_pages, pg_stat_get_live_tuples(oid) / 100
    ) DESC, oid LIMIT {tables_max}
)
SELECT json_build_object(
    'database', current_database(),
    'block_bytes', current_setting('block_size')::int,
    'tables', (SELECT count(*) FROM every),
    'pages', (SELECT sum(relpages::bigint + index_pages + toast_pages) FROM every),
    'largest', (
        SELECT json_agg(json_build_object(
            'schema', l.nspname, 'name', l.relname, 'kind', l.relkind,
            'pages', l.relpages, 'index_pages', l.index_pages, 'toast_pages', l.toast_pages,
            'rows', NULLIF(l.reltuples, -1)::float8,
            'live_rows', pg_stat_get_live_tuples(l.oid),
            'dead_rows', pg_stat_get_dead_tuples(l.oid),
            'vacuumed_at', extract(epoch FROM greatest(
                pg_stat_get_last_vacuum_time(l.oid), pg_stat_get_last_autovacuum_time(l.oid)
            )),
            'fillfactor', (
                SELECT option_value::int FROM pg_options_to_table(l.reloptions)
                WHERE option_name = 'fillfactor'
            ),
            -- Of each column: bytes it always takes, or less than none; how it is aligned; the
            -- mean width and the share of nulls, as ANALYZE found them.
            'columns', (
                SELECT json_agg(json_build_array(
                    a.attlen, a.attalign, s.avg_width, s.null_frac
                ) ORDER BY a.attnum)
                FROM pg_attribute AS a
                LEFT JOIN pg_stats AS s ON s.schemaname = l.nspname AND s.tablename = l.relname
                    AND s.attname = a.attname AND NOT s.inherited
                WHERE a.attrelid = l.oid AND a.attnum > 0 AND NOT a.attisdropped
            )
        ) ORDER BY l.relpages::bigint + l.index_pages + l.toast_pages DESC, l.oid)
        FROM largest AS l
    )
)::text AS tables
