-- How large each database is on disk, at most 100 of them.
-- Privilege: pg_read_all_stats (in pg_monitor), or CONNECT on a database; others are left out.
-- Cost: asks the file system about every file of every database; opens and locks no relation.
SELECT json_build_object(
    'readings', json_agg(json_build_object(
        'name', 'database_size_bytes', 'subject', d.datname, 'value', d.size_bytes
    ) ORDER BY d.size_bytes DESC)
)::text AS answer
FROM (
    SELECT datname, pg_database_size(oid) AS size_bytes
    FROM pg_database
    WHERE datallowconn AND (
        pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
        OR has_database_privilege(oid, 'CONNECT')
    )
    ORDER BY oid LIMIT 100
) AS d
