-- Tables, views, indexes, sequences and extensions of this database: at most 5,000 of them, by oid.
-- A relation's value says what a change of its definition changes: kind, columns, owner.
-- Privilege: none; catalogs only, no relation of a user is opened or locked.
SELECT json_build_object('items', json_agg(item))::text AS answer
FROM (
    SELECT json_build_object(
        'kind', 'extension', 'name', current_database() || '.' || e.extname, 'value', e.extversion
    ) AS item
    FROM pg_extension AS e
    UNION ALL
    (
        SELECT json_build_object(
            'kind', 'relation',
            'name', concat_ws('.', current_database(), n.nspname, c.relname),
            'value', concat_ws(
                ' ',
                CASE c.relkind
                    WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
                    WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index'
                    WHEN 'I' THEN 'partitioned index' WHEN 'S' THEN 'sequence'
                    WHEN 'f' THEN 'foreign table' ELSE c.relkind::text
                END,
                'of', pg_get_userbyid(c.relowner) || ',', 'columns', (
                    SELECT md5(string_agg(
                        concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attnotnull), ','
                        ORDER BY a.attnum
                    ))
                    FROM pg_attribute AS a
                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                )
            )
        )
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid >= 16384 AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
        ORDER BY c.oid LIMIT 5000
    )
) AS items
