-- Numbers of one server that exist from version 15 on. Privilege: pg_monitor.
SELECT json_build_object('figures', COALESCE(json_agg(f), '[]'::json))::text AS workings
FROM (
    SELECT 'apply_errors_total' AS name, subname AS subject, apply_error_count::float8 AS value,
        '' AS detail
    FROM pg_stat_subscription_stats
    UNION ALL
    SELECT 'collation_of_database', datname, 1,
        format('made with %s, now %s', datcollversion, pg_database_collation_actual_version(oid))
    FROM pg_database
    WHERE datallowconn AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)
) AS f
