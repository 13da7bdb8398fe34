-- How much of each large table is empty, estimated from what ANALYZE noted: no table is opened.
-- Only tables above 100 MB whose columns all have statistics; the fifty emptiest.
-- Privilege: SELECT on a table for its columns' statistics; others are left out.
WITH large AS MATERIALIZED (
    SELECT
        c.oid, n.nspname, c.relname, c.reltuples, c.relpages::float8 AS pages,
        current_setting('block_size')::float8 AS block_bytes,
        COALESCE((
            SELECT option_value::float8 FROM pg_options_to_table(c.reloptions)
            WHERE option_name = 'fillfactor'
        ), 100) / 100 AS fill,
        (
            SELECT count(*) FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ) AS columns
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND c.reltuples > 0
        AND c.relpages::float8 * current_setting('block_size')::float8 > 100 * 2 ^ 20
    ORDER BY c.relpages DESC LIMIT 200
),
estimated AS (
    SELECT
        l.*,
        -- A row's header and its pointer, the columns, and four bytes lost to alignment on average.
        ceil(l.reltuples * (28 + s.row_bytes + 4) / ((l.block_bytes - 24) * l.fill)) AS pages_needed
    FROM large AS l
    CROSS JOIN LATERAL (
        SELECT count(*) AS columns, sum((1 - null_frac) * avg_width)::float8 AS row_bytes
        FROM pg_stats
        WHERE schemaname = l.nspname AND tablename = l.relname AND NOT inherited
    ) AS s
    WHERE s.columns = l.columns AND l.columns > 0
)
SELECT json_build_object(
    'readings', json_agg(json_build_object(
        'name', 'table_bloat_pct',
        'subject', concat_ws('.', current_database(), nspname, relname), 'value', bloat_pct
    ))
)::text AS answer
FROM (
    SELECT *, 100 * greatest(0, 1 - pages_needed / pages) AS bloat_pct
    FROM estimated ORDER BY pages_needed / pages LIMIT 50
) AS emptiest
