-- How much of each sequence, and of the integer column behind it, is used up: the twenty nearest.
-- Reading a sequence takes a weak lock on it, so those that somebody holds or waits for in a mode in
-- the way are left out, and at most 1,000 are read. A race is ended by lock_timeout.
-- Of an integer key that no readable sequence fills, the largest value that ANALYZE met is taken, and
-- told as an estimate: only of columns in a unique index, and only where values grow in the order in
-- which rows are stored, since keys drawn at random are near the end from the first day.
-- Privilege: USAGE or SELECT on a sequence and SELECT on a table (pg_read_all_data from version 14 on
-- gives both for all).
WITH taken AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE relation IS NOT NULL AND mode IN (
        'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
    )
),
asked AS MATERIALIZED (
    SELECT
        c.oid, n.nspname, c.relname, s.seqmin, s.seqmax, s.seqincrement,
        k.column_of, k.column_number, k.column_name, k.column_max
    FROM pg_sequence AS s
    JOIN pg_class AS c ON c.oid = s.seqrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT
            d.refobjid AS column_of, d.refobjsubid AS column_number,
            tn.nspname || '.' || t.relname || '.' || a.attname AS column_name,
            CASE a.atttypid
                WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647
            END AS column_max
        FROM pg_depend AS d
        JOIN pg_class AS t ON t.oid = d.refobjid
        JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
            AND d.refobjsubid > 0
        LIMIT 1
    ) AS k ON true
    WHERE c.relpersistence = 'p' AND NOT s.seqcycle
        -- The planner may ask this of every relation, and of a table it is an error.
        AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE, SELECT') END
        AND c.oid NOT IN (SELECT relation FROM taken)
    ORDER BY LEAST(s.seqmax, k.column_max), c.oid LIMIT 1000
),
answered AS MATERIALIZED (
    SELECT *, pg_sequence_last_value(oid) AS last_value FROM asked
),
candidates AS MATERIALIZED (
    SELECT DISTINCT
        t.oid, t.reltuples, n.nspname, t.relname, a.attname,
        CASE a.atttypid WHEN 'int2'::regtype THEN 32767 ELSE 2147483647 END AS column_max
    FROM pg_index AS i
    JOIN pg_class AS t ON t.oid = i.indrelid
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indisunique AND i.indpred IS NULL AND t.oid >= 16384
        AND t.relkind = 'r' AND t.relpersistence = 'p' AND t.reltuples > 0
        AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
        AND NOT EXISTS (
            SELECT FROM answered AS f
            WHERE f.column_of = t.oid AND f.column_number = a.attnum AND f.last_value IS NOT NULL
        )
    ORDER BY t.reltuples DESC, t.oid LIMIT 500
),
-- Materialized, because what other columns' statistics hold is no number.
estimated AS MATERIALIZED (
    SELECT c.*, greatest(
        (SELECT max(v) FROM unnest(s.histogram_bounds::text::bigint[]) AS v),
        (SELECT max(v) FROM unnest(s.most_common_vals::text::bigint[]) AS v)
    ) AS largest
    FROM candidates AS c
    JOIN pg_stats AS s
        ON s.schemaname = c.nspname AND s.tablename = c.relname AND s.attname = c.attname
        AND NOT s.inherited AND s.correlation > 0.8
),
used AS (
    SELECT
        'sequence_used_pct' AS name,
        concat_ws('.', current_database(), nspname, relname) AS subject,
        100 * CASE
            WHEN seqincrement > 0
                THEN (last_value - seqmin)::float8 / greatest(seqmax::float8 - seqmin, 1)
            ELSE (seqmax - last_value)::float8 / greatest(seqmax::float8 - seqmin, 1)
        END AS value,
        NULL AS detail
    FROM answered WHERE last_value IS NOT NULL
    UNION ALL
    SELECT
        'int4_key_used_pct',
        concat_ws('.', current_database(), column_name),
        100 * last_value::float8 / column_max,
        NULL
    FROM answered WHERE last_value IS NOT NULL AND column_max IS NOT NULL AND seqincrement > 0
    UNION ALL
    SELECT
        'int4_key_used_pct',
        concat_ws('.', current_database(), nspname, relname, attname),
        100 * largest::float8 / column_max,
        'estimated from statistics'
    FROM estimated WHERE largest > 0
)
SELECT json_build_object(
    'readings', json_agg(json_build_object(
        'name', name, 'subject', subject, 'value', value, 'detail', detail
    ))
)::text AS answer
FROM (SELECT * FROM used ORDER BY value DESC, subject LIMIT 20) AS nearest
