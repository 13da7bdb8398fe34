-- The tables of one database that stand out, from the statistics alone. PostgreSQL 13 to 18.
-- Privilege: none. Cost: one reading of every table's statistics; once per diagnosis.
-- Never: a function that takes a lock on a user's table.
WITH t AS MATERIALIZED (
    SELECT
        s.schemaname || '.' || s.relname AS name, s.n_live_tup, s.n_dead_tup,
        s.n_mod_since_analyze, s.n_tup_ins, s.n_tup_upd, s.n_tup_del, s.seq_scan, s.seq_tup_read,
        s.idx_scan, greatest(s.last_analyze, s.last_autoanalyze) AS analyzed,
        greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed,
        -- As VACUUM or ANALYZE counted last: before what has been done to its rows since.
        greatest(c.reltuples, 0) AS rows_before,
        -- Half of the rows are gone, or nearly all of them were written anew, and both lie there.
        c.reltuples >= 1000 AND (
            (s.n_live_tup * 2 <= c.reltuples AND s.n_tup_del * 2 >= c.reltuples)
            OR least(s.n_tup_upd, s.n_dead_tup) >= 0.8 * c.reltuples
        ) AS worked_over
    FROM pg_stat_user_tables AS s JOIN pg_class AS c ON c.oid = s.relid
),
figures AS (
    (
        SELECT 'table_dead_rows' AS name, t.name AS subject, n_dead_tup::float8 AS value,
            format('%s live; last vacuum %s', n_live_tup, COALESCE(vacuumed::text, 'never'))
                AS detail
        FROM t WHERE n_dead_tup > 0 ORDER BY worked_over DESC, n_dead_tup DESC, t.name LIMIT 5
    )
    UNION ALL
    (
        SELECT 'table_live_rows', t.name, n_live_tup::float8, ''
        FROM t ORDER BY worked_over DESC, n_live_tup DESC, t.name LIMIT 20
    )
    UNION ALL
    (
        SELECT 'table_rows_before', t.name, rows_before::float8, ''
        FROM t WHERE worked_over ORDER BY rows_before DESC, t.name LIMIT 5
    )
    UNION ALL
    (
        -- Inserted, never deleted, and not there: truncated, or the inserts were rolled back.
        SELECT 'table_rows_vanished', t.name, (n_tup_ins - n_tup_del)::float8,
            format('%s scans, %s by index', seq_scan, COALESCE(idx_scan, 0))
        -- A few came since, where the application goes on writing.
        FROM t WHERE n_tup_ins - n_tup_del >= 1000
            AND (n_live_tup + n_dead_tup) * 20 <= n_tup_ins - n_tup_del
        ORDER BY n_tup_ins - n_tup_del DESC, t.name LIMIT 5
    )
    UNION ALL
    SELECT 'tables', current_database(), count(*)::float8, '' FROM t
    UNION ALL
    (
        SELECT 'table_unanalyzed_rows', t.name, n_mod_since_analyze::float8,
            format('%s live; last analyze %s', n_live_tup, COALESCE(analyzed::text, 'never'))
        FROM t WHERE n_mod_since_analyze > 0 ORDER BY n_mod_since_analyze DESC, t.name LIMIT 5
    )
    UNION ALL
    (
        SELECT 'table_seq_rows_total', t.name, seq_tup_read::float8,
            format('%s scans, %s by index', seq_scan, COALESCE(idx_scan, 0))
        FROM t WHERE seq_tup_read > 0 ORDER BY seq_tup_read DESC, t.name LIMIT 10
    )
    UNION ALL
    (
        SELECT 'table_deleted_rows_total', t.name, n_tup_del::float8, ''
        FROM t WHERE n_tup_del > 0 ORDER BY worked_over DESC, n_tup_del DESC, t.name LIMIT 5
    )
    UNION ALL
    (
        SELECT 'table_updated_rows_total', t.name, n_tup_upd::float8, ''
        FROM t WHERE n_tup_upd > 0 ORDER BY worked_over DESC, n_tup_upd DESC, t.name LIMIT 5
    )
    UNION ALL
    (
        SELECT 'table_autovacuum_off', n.nspname || '.' || c.relname, 1, ''
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND EXISTS (
            SELECT FROM pg_options_to_table(c.reloptions)
            WHERE option_name = 'autovacuum_enabled' AND NOT option_value::boolean
        )
        ORDER BY c.reltuples DESC, c.oid LIMIT 10
    )
    UNION ALL
    (
        SELECT 'index_invalid', n.nspname || '.' || c.relname, 1,
            (SELECT r.relname FROM pg_class AS r WHERE r.oid = i.indrelid)
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE NOT i.indisvalid ORDER BY c.oid LIMIT 5
    )
)
SELECT json_build_object('figures', COALESCE(json_agg(f), '[]'::json))::text AS workings
FROM figures AS f
