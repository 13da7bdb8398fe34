-- How much of each sequence, and of the integer column behind it, is used up: the fifty nearest.
-- Reading a sequence takes a weak lock on it, so those that somebody holds or waits for in a mode in
-- the way are left out, and at most 1,000 are read. A race is ended by lock_timeout.
-- Privilege: USAGE or SELECT on a sequence (pg_read_all_data from version 14 on gives it for all).
WITH taken AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE relation IS NOT NULL AND mode IN (
        'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
    )
),
asked AS MATERIALIZED (
    SELECT
        c.oid, n.nspname, c.relname, s.seqmin, s.seqmax, s.seqincrement, k.column_name, k.column_max
    FROM pg_sequence AS s
    JOIN pg_class AS c ON c.oid = s.seqrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT
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
used AS (
    SELECT
        'sequence_used_pct' AS name,
        concat_ws('.', current_database(), nspname, relname) AS subject,
        100 * CASE
            WHEN seqincrement > 0
                THEN (last_value - seqmin)::float8 / greatest(seqmax::float8 - seqmin, 1)
            ELSE (seqmax - last_value)::float8 / greatest(seqmax::float8 - seqmin, 1)
        END AS value
    FROM answered WHERE last_value IS NOT NULL
    UNION ALL
    SELECT
        'int4_key_used_pct',
        concat_ws('.', current_database(), column_name),
        100 * last_value::float8 / column_max
    FROM answered WHERE last_value IS NOT NULL AND column_max IS NOT NULL AND seqincrement > 0
)
SELECT json_build_object(
    'readings', json_agg(json_build_object('name', name, 'subject', subject, 'value', value))
)::text AS answer
FROM (SELECT * FROM used ORDER BY value DESC, subject LIMIT 50) AS nearest
