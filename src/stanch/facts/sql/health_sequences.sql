-- The sequences of this database nearest to their end, as one JSON object.
-- Reading a sequence takes a weak lock on it, so those that somebody holds or waits for in a mode in
-- the way are left out and counted, and at most 500 are read. A race is ended by lock_timeout.
-- Privilege: USAGE or SELECT on a sequence (pg_read_all_data from version 14 on gives it for all).
WITH taken AS MATERIALIZED (
    SELECT relation FROM pg_locks
    WHERE relation IS NOT NULL AND mode IN (
        'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
    )
),
every AS MATERIALIZED (
    SELECT
        c.oid, n.nspname, c.relname, s.seqmin, s.seqmax, s.seqincrement, s.seqcycle,
        has_sequence_privilege(c.oid, 'USAGE, SELECT') AS readable,
        c.oid IN (SELECT relation FROM taken) AS locked,
        o.relname AS table_name, o.attname AS column_name, o.column_max
    FROM pg_sequence AS s
    JOIN pg_class AS c ON c.oid = s.seqrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT t.relname, a.attname, CASE a.atttypid
            WHEN 'int2'::regtype THEN 32767
            WHEN 'int4'::regtype THEN 2147483647
        END AS column_max
        FROM pg_depend AS d
        JOIN pg_class AS t ON t.oid = d.refobjid
        JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
            AND d.refobjsubid > 0
        LIMIT 1
    ) AS o ON true
    WHERE c.relpersistence = 'p'
),
asked AS MATERIALIZED (
    SELECT * FROM every WHERE readable AND NOT locked
    ORDER BY LEAST(seqmax, column_max), oid LIMIT 500
),
answered AS MATERIALIZED (
    SELECT *, pg_sequence_last_value(oid) AS last_value FROM asked
),
used AS MATERIALIZED (
    SELECT
        *,
        CASE
            WHEN last_value IS NULL THEN 0
            WHEN seqincrement > 0
                THEN (last_value - seqmin)::float8
                    / greatest(LEAST(seqmax, column_max)::float8 - seqmin, 1)
            ELSE (seqmax - last_value)::float8 / greatest(seqmax::float8 - seqmin, 1)
        END AS used
    FROM answered
)
SELECT json_build_object(
    'sequences', (SELECT count(*) FROM every),
    'read', (SELECT count(*) FROM used),
    'locked', (SELECT count(*) FROM every WHERE locked AND readable),
    'forbidden', (SELECT count(*) FROM every WHERE NOT readable),
    'nearest', (
        SELECT json_agg(json_build_object(
            'schema', u.nspname, 'name', u.relname, 'table', u.table_name,
            'column', u.column_name, 'last_value', u.last_value,
            'max_value', LEAST(u.seqmax, u.column_max), 'cycles', u.seqcycle, 'used', u.used
        ) ORDER BY u.used DESC, u.oid)
        FROM (SELECT * FROM used ORDER BY used DESC, oid LIMIT 5) AS u
    )
)::text AS sequences
