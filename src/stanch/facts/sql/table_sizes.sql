-- How large the largest tables of this database are on disk at this moment, with their indexes and
-- what is stored outside of them. How many, and from which size on, is filled in.
-- Asking takes the weakest lock on a table for as long as its files are looked at, so those that
-- somebody holds or waits for exclusively are told without a size. A race is ended by lock_timeout.
-- Largest by what VACUUM, ANALYZE or the row counters say: a table that is new and was never
-- counted may be missing.
-- Privilege: none. Cost: asks the file system about every file of these tables.
WITH taken AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE relation IS NOT NULL AND mode = 'AccessExclusiveLock'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
),
index_pages AS MATERIALIZED (
    SELECT i.indrelid, sum(c.relpages)::bigint AS pages, bool_or(i.indexrelid IN (
        SELECT relation FROM taken
    )) AS taken
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    GROUP BY i.indrelid
),
largest AS MATERIALIZED (
    SELECT
        c.oid, n.nspname, c.relname,
        c.oid IN (SELECT relation FROM taken) OR COALESCE(x.taken, false)
            OR COALESCE(t.oid IN (SELECT relation FROM taken), false)
            OR COALESCE(tx.taken, false) AS taken
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid
    LEFT JOIN index_pages AS x ON x.indrelid = c.oid
    LEFT JOIN index_pages AS tx ON tx.indrelid = t.oid
    CROSS JOIN LATERAL (
        SELECT c.relpages::bigint + COALESCE(x.pages, 0) + COALESCE(t.relpages, 0)
            + COALESCE(tx.pages, 0) AS counted
    ) AS pages
    -- Of a table that was filled a moment ago only the counter of its rows knows.
    CROSS JOIN LATERAL (
        SELECT greatest(pages.counted, pg_stat_get_live_tuples(c.oid) / 100) AS pages
    ) AS size
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname <> 'pg_toast'
        AND size.pages >= {pages_min}
    ORDER BY size.pages DESC, c.oid LIMIT {tables_max}
)
SELECT json_build_object(
    'readings', json_agg(json_build_object(
        'name', 'table_size_bytes',
        'subject', concat_ws('.', current_database(), nspname, relname),
        'value', CASE WHEN NOT taken THEN pg_total_relation_size(oid) END,
        'detail', CASE WHEN taken THEN 'somebody holds it exclusively, or waits to' END
    ))
)::text AS answer
FROM largest
