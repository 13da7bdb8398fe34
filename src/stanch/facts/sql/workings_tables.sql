-- The tables of one database that stand out, from the statistics alone. PostgreSQL 13 to 18.
-- Privilege: none. Cost: one reading of every table's statistics; once per diagnosis.
-- Never: a function that takes a lock on a user's table.
WITH anchor AS (
    -- How long one transaction id has lasted since the last checkpoint: by it the age of an id, which
    -- carries no time, becomes one in seconds. Of those before it, only where it is no wild guess.
    SELECT
        since_s / greatest(xids, 1) AS s_per_xid,
        CASE WHEN since_s >= 60 AND xids >= 1000 THEN 5 * xids ELSE xids END AS xids_max
    FROM (
        SELECT
            age(split_part(next_xid, ':', 2)::xid) AS xids,
            extract(
                epoch FROM clock_timestamp() - greatest(checkpoint_time, pg_postmaster_start_time())
            ) AS since_s
        FROM pg_control_checkpoint()
    ) AS last
),
t AS MATERIALIZED (
    SELECT
        s.schemaname || '.' || s.relname AS name, s.relid, s.schemaname, s.relname,
        c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AS ours_to_tend, s.n_live_tup, s.n_dead_tup,
        c.relhasindex AND current_setting('autovacuum')::boolean
            AND NOT COALESCE('autovacuum_enabled=false' = ANY (c.reloptions), false) AS counts_anew,
        age(c.xmin) AS changed_xids,
        s.n_mod_since_analyze, s.n_tup_ins, s.n_tup_upd, s.n_tup_del, s.seq_scan, s.seq_tup_read,
        s.idx_scan, greatest(s.last_analyze, s.last_autoanalyze) AS analyzed,
        greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed,
        c.relpages,
        -- As VACUUM or ANALYZE counted last: before what has been done to its rows since.
        greatest(c.reltuples, 0) AS rows_before,
        -- Half of the rows are gone, or nearly all of them were written anew, and both lie there.
        c.reltuples >= 1000 AND (
            (s.n_live_tup * 2 <= c.reltuples AND s.n_tup_del * 2 >= c.reltuples)
            OR least(s.n_tup_upd, s.n_dead_tup) >= 0.8 * c.reltuples
        ) AS worked_over,
        -- Inserted, never deleted, and not there: truncated, or the inserts were rolled back. Some came
        -- since, where the application goes on writing.
        s.n_tup_ins - s.n_tup_del >= 1000
            AND (s.n_live_tup + s.n_dead_tup) * 4 <= s.n_tup_ins - s.n_tup_del AS vanished,
        -- Counted before, and now of a file that nobody has counted yet: truncated or rewritten, of
        -- which the statistics know nothing (also where the session that emptied it filled it again).
        c.relpages = 0 AND c.reltuples <= 0 AND s.n_live_tup >= 1000
            AND COALESCE(s.last_vacuum, s.last_autovacuum, s.last_analyze, s.last_autoanalyze)
                IS NOT NULL AS in_new_file
    FROM pg_stat_user_tables AS s JOIN pg_class AS c ON c.oid = s.relid
),
cut AS MATERIALIZED (
    SELECT name, relname, counts_anew, changed_xids, n_live_tup, vanished, in_new_file
    FROM t WHERE vanished OR in_new_file
    ORDER BY changed_xids, name LIMIT 5
),
kept AS MATERIALIZED (
    -- Dead rows that lay there already when the table was analysed last, right after a vacuum: it
    -- came, and had to leave them. At most what changed since then can have died since then.
    SELECT
        name, n_live_tup, n_dead_tup - n_mod_since_analyze AS rows_left,
        extract(epoch FROM clock_timestamp() - vacuumed) AS vacuum_age_s
    FROM t
    WHERE n_dead_tup > n_mod_since_analyze AND analyzed <= vacuumed + interval '1 min'
    ORDER BY n_dead_tup - n_mod_since_analyze DESC, name LIMIT 5
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
    -- What was rolled back is not among them; what was counted before an ANALYZE is not either. Where
    -- there never was one, the rows that came first are among them and changed nothing.
    (
        SELECT
            'table_changes_since_analyze', t.name,
            CASE
                WHEN analyzed IS NULL THEN greatest(0, n_mod_since_analyze - n_tup_ins)
                ELSE n_mod_since_analyze
            END::float8,
            ''
        FROM t WHERE worked_over ORDER BY rows_before DESC, t.name LIMIT 5
    )
    UNION ALL
    (
        SELECT 'table_rows_vanished', t.name, (n_tup_ins - n_tup_del)::float8,
            format('%s scans, %s by index', seq_scan, COALESCE(idx_scan, 0))
        FROM t WHERE vanished ORDER BY n_tup_ins - n_tup_del DESC, t.name LIMIT 5
    )
    UNION ALL
    -- A rewrite counts the rows again as it makes the indexes anew (18: where autovacuum is on).
    SELECT
        'table_rows_in_new_file', name, n_live_tup::float8,
        CASE WHEN counts_anew THEN 'no rewrite' ELSE '' END
    FROM cut WHERE in_new_file AND NOT vanished
    UNION ALL
    -- Since its definition or its file was another, by estimate; null: longer ago than can be told.
    SELECT
        'table_changed_age_s', name,
        (CASE WHEN changed_xids <= xids_max THEN changed_xids * s_per_xid END)::float8, ''
    FROM cut CROSS JOIN anchor
    UNION ALL
    -- Sessions whose newest statement picks rows from it; null where statements may not be seen.
    SELECT 'table_sessions', cut.name, (
        SELECT CASE WHEN bool_or(a.query = '<insufficient privilege>') THEN NULL ELSE count(*) FILTER (
            WHERE a.state_change > clock_timestamp() - interval '1 min'
            AND a.query ~* '^\s*((select|with|update|delete)\y|insert\s.*\yvalues\y)'
            AND a.query ~* (
                '\y' || regexp_replace(cut.relname, '([^[:alnum:]_])', '\\\1', 'g') || '\y'
            )
        ) END
        FROM pg_stat_activity AS a
        WHERE a.datname = current_database() AND a.backend_type = 'client backend'
            AND a.pid <> pg_backend_pid()
    )::float8, ''
    FROM cut
    UNION ALL
    SELECT 'table_dead_rows_left', name, rows_left::float8, format('%s live', n_live_tup) FROM kept
    UNION ALL
    SELECT 'table_vacuum_age_s', name, vacuum_age_s::float8, '' FROM kept
    UNION ALL
    SELECT 'tables', current_database(), count(*)::float8, '' FROM t
    UNION ALL
    (
        SELECT 'table_unanalyzed_rows', t.name, n_mod_since_analyze::float8,
            format('%s live; last analyze %s', n_live_tup, COALESCE(analyzed::text, 'never'))
        FROM t WHERE n_mod_since_analyze > 0 ORDER BY n_mod_since_analyze DESC, t.name LIMIT 5
    )
    UNION ALL
    -- What tells a table from another of its name: oid, last analyze, last vacuum, schema.
    (
        SELECT 'table_identity', t.name, NULL, concat_ws(
            ' ', relid::bigint, COALESCE(to_json(analyzed) #>> '{}', '-'),
            COALESCE(to_json(vacuumed) #>> '{}', '-'), schemaname
        )
        FROM t WHERE ours_to_tend
        ORDER BY worked_over DESC, greatest(n_dead_tup, n_mod_since_analyze, n_live_tup) DESC, t.name
        LIMIT 20
    )
    UNION ALL
    -- The same of the tables, those of the system among them, whose rows wait longest to be frozen.
    (
        SELECT 'table_xid_age', n.nspname || '.' || c.relname, o.xids::float8, concat_ws(
            ' ', c.oid::bigint, '-', COALESCE(to_json(greatest(
                pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)
            )) #>> '{}', '-'), n.nspname
        )
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN pg_class AS toast ON toast.oid = c.reltoastrelid
        CROSS JOIN LATERAL (
            SELECT greatest(age(c.relfrozenxid), age(toast.relfrozenxid)) AS xids
        ) AS o
        WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND NOT c.relisshared
            AND o.xids >= 200000000
        ORDER BY o.xids DESC, c.oid LIMIT 3
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
    -- Fewer rows than pages, where four find room on one: most of it is empty or dead.
    (
        SELECT 'table_sparse_pages', t.name, relpages::float8, format('%s live', n_live_tup)
        FROM t WHERE relpages >= 1000 AND n_live_tup < relpages
        ORDER BY relpages DESC, t.name LIMIT 10
    )
    UNION ALL
    -- Columns of which the planner knows nothing: a change of the type forgets what was known, as an
    -- upgrade to 17 and below does. pg_stats hides what may not be read; of such a column its
    -- definition tells it, where that is at most half as old, by estimate, as the newest ANALYZE.
    (
        SELECT 'table_columns_unknown', u.name, count(*)::float8,
            string_agg(a.attname, ', ' ORDER BY a.attnum) FILTER (WHERE a.place <= 10)
        FROM (
            SELECT c.oid, n.nspname, c.relname, n.nspname || '.' || c.relname AS name,
                extract(epoch FROM clock_timestamp() - greatest(
                    pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)
                )) AS analyzed_s
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            -- By the rows: a table that was rewritten has no pages until somebody counts them.
            WHERE c.relkind = 'r' AND pg_stat_get_live_tuples(c.oid) >= 10000
                AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                AND NOT row_security_active(c.oid)
            ORDER BY pg_stat_get_live_tuples(c.oid) DESC, c.oid LIMIT 200
        ) AS u
        CROSS JOIN LATERAL (
            SELECT a.attname, a.attnum, row_number() OVER (ORDER BY a.attnum) AS place
            FROM pg_attribute AS a
            WHERE a.attrelid = u.oid AND a.attnum > 0 AND NOT a.attisdropped
                AND a.attstattarget IS DISTINCT FROM 0
                AND CASE
                    WHEN has_column_privilege(u.oid, a.attnum, 'SELECT') THEN NOT EXISTS (
                        SELECT FROM pg_stats AS s
                        WHERE s.schemaname = u.nspname AND s.tablename = u.relname
                            AND s.attname = a.attname
                    )
                    ELSE (
                        SELECT age(a.xmin) <= xids_max
                            AND 2 * age(a.xmin) * s_per_xid < u.analyzed_s
                        FROM anchor
                    )
                END
        ) AS a
        GROUP BY u.oid, u.name ORDER BY count(*) DESC, u.name LIMIT 10
    )
    UNION ALL
    (
        SELECT 'index_invalid_leads', n.nspname || '.' || c.relname, NULL, a.attname
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE NOT i.indisvalid ORDER BY c.oid LIMIT 5
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
    UNION ALL
    -- What tells it from another of its name: its oid, that of its table, its schema.
    (
        SELECT 'index_identity', n.nspname || '.' || c.relname, NULL,
            concat_ws(' ', c.oid::bigint, i.indrelid::bigint, n.nspname)
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE NOT i.indisvalid AND c.relkind = 'i' ORDER BY c.oid LIMIT 5
    )
)
SELECT json_build_object('figures', COALESCE(json_agg(f), '[]'::json))::text AS workings
FROM figures AS f
