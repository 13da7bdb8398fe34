-- What lies in some files; those of other databases are passed over. PostgreSQL 13 to 18.
-- Privilege: none. Cost: one lookup a file in pg_class.
SELECT
    json_build_object(
        'figures',
        COALESCE(
            json_agg(
                json_build_object(
                    'name', 'damaged_file',
                    'subject', f.number::text,
                    'value', CASE WHEN i.indexrelid IS NULL THEN 0 ELSE 1 END,
                    'detail', n.nspname || '.' || c.relname
                )
                ORDER BY f.number
            ),
            '[]'::json
        )
    )::text AS workings
FROM unnest(%(databases)s::oid[], %(numbers)s::oid[]) AS f (database, number)
JOIN pg_database AS d ON d.oid = f.database AND d.datname = current_database()
-- Zero: of the database's own tablespace, whichever that is.
JOIN pg_class AS c ON c.oid = pg_filenode_relation(0, f.number)
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
