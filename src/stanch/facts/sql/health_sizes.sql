-- The size of every database on disk, largest first, as a JSON list of at most 50.
-- Privilege: pg_read_all_stats (in pg_monitor), or CONNECT on a database to see its size.
-- Cost: asks the file system about every file of every database; no relation is opened or locked.
SELECT COALESCE(json_agg(d ORDER BY d.size_bytes DESC NULLS LAST, d.name), '[]'::json)::text AS sizes
FROM (
    SELECT
        datname AS name,
        CASE
            WHEN pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
                OR has_database_privilege(oid, 'CONNECT')
                THEN pg_database_size(oid)
        END AS size_bytes
    FROM pg_database
    WHERE NOT datistemplate
    ORDER BY 2 DESC NULLS LAST LIMIT 50
) AS d
