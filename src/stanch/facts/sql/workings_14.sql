-- Numbers of one server that exist from version 14 on. Privilege: pg_monitor.
SELECT json_build_object('figures', COALESCE(json_agg(f), '[]'::json))::text AS workings
FROM (
    SELECT 'wal_written_bytes_total' AS name, '' AS subject, wal_bytes::float8 AS value,
        '' AS detail
    FROM pg_stat_wal
    UNION ALL
    SELECT 'wal_page_images_total', '', wal_fpi::float8, '' FROM pg_stat_wal
    UNION ALL
    SELECT 'decoding_spilled_bytes_total', slot_name, spill_bytes::float8, ''
    FROM pg_stat_replication_slots
    UNION ALL
    SELECT 'progress', 'copy', count(*)::float8, min(command) FROM pg_stat_progress_copy
    UNION ALL
    -- Rows that leave the server as COPY; the detail begins with the application.
    (
        SELECT 'copying_out', a.usename, p.bytes_processed::float8, format(
            '%s, from %s, pid %s', COALESCE(NULLIF(a.application_name, ''), 'no name'),
            COALESCE(host(a.client_addr), 'this machine'), p.pid
        )
        FROM pg_stat_progress_copy AS p JOIN pg_stat_activity AS a ON a.pid = p.pid
        WHERE p.command = 'COPY TO' ORDER BY p.bytes_processed DESC, p.pid LIMIT 5
    )
) AS f
