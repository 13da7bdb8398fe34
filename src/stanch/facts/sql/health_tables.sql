-- The ten largest tables of this database with what is known about their dead rows and width.
-- Sizes are what VACUUM and ANALYZE noted last: asking for the present ones would take a lock on
-- each table, and wait behind whoever holds one exclusively.
-- Privilege: none for sizes; columns' statistics (row_bytes) only of tables the role may read.
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
    SELECT * FROM every
    ORDER BY relpages::bigint + index_pages + toast_pages DESC, oid LIMIT 10
)
SELECT json_build_object(
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
            'analyzed_at', extract(epoch FROM greatest(
                pg_stat_get_last_analyze_time(l.oid), pg_stat_get_last_autoanalyze_time(l.oid)
            )),
            'fillfactor', (
                SELECT option_value::int FROM pg_options_to_table(l.reloptions)
                WHERE option_name = 'fillfactor'
            ),
            'columns', (
                SELECT count(*) FROM pg_attribute AS a
                WHERE a.attrelid = l.oid AND a.attnum > 0 AND NOT a.attisdropped
            ),
            'known_columns', s.columns,
            'row_bytes', s.row_bytes
        ) ORDER BY l.relpages::bigint + l.index_pages + l.toast_pages DESC, l.oid)
        FROM largest AS l
        CROSS JOIN LATERAL (
            SELECT count(*) AS columns, sum((1 - null_frac) * avg_width)::float8 AS row_bytes
            FROM pg_stats
            WHERE schemaname = l.nspname AND tablename = l.relname AND NOT inherited
        ) AS s
    )
)::text AS tables
