-- Invalid indexes of this database that nobody is building at the moment.
-- Privilege: pg_read_all_stats (in pg_monitor) to see who builds one.
SELECT json_build_object(
    'readings', json_build_array(json_build_object(
        'name', 'invalid_indexes', 'subject', current_database(), 'value', count(*),
        'detail', left(string_agg(n.nspname || '.' || c.relname, ', ' ORDER BY c.oid), 200)
    ))
)::text AS answer
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i'
    AND NOT EXISTS (
        SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid
    )
