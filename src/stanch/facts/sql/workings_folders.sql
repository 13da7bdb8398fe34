-- What lies in folders of the server: temporary files of running statements, by the process that wrote
-- them, and the WAL file that has waited longest for the archive. PostgreSQL 13 to 18.
-- pg_stat_database counts a temporary file only when its statement has ended. Files that parallel
-- workers share lie in folders of their own and are not listed here.
-- Privilege: pg_monitor; without it the statement fails, and nothing else with it.
-- Cost: reads archive_status, and one directory a tablespace.
SELECT json_build_object('figures', COALESCE(json_agg(f), '[]'::json))::text AS workings
FROM (
    (
        SELECT
            'temp_files_bytes' AS name, substring(d.name FROM '^pgsql_tmp([0-9]+)') AS subject,
            sum(d.size)::float8 AS value, min(t.spcname) AS detail
        FROM pg_tablespace AS t
        CROSS JOIN LATERAL pg_ls_tmpdir(t.oid) AS d
        WHERE t.spcname <> 'pg_global' AND d.name LIKE 'pgsql\_tmp%'
        GROUP BY 2 ORDER BY 3 DESC, 2 LIMIT 5
    )
    UNION ALL
    (
        SELECT
            'archive_ready_age_s', '',
            extract(epoch FROM clock_timestamp() - d.modification)::float8, d.name
        FROM pg_ls_archive_statusdir() AS d
        WHERE d.name LIKE '%.ready'
            -- What was ready when archiving was switched off stays there for good.
            AND current_setting('archive_mode') <> 'off'
            AND (NOT pg_is_in_recovery() OR current_setting('archive_mode') = 'always')
        ORDER BY d.modification, d.name LIMIT 1
    )
) AS f
