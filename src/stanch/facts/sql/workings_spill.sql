-- What logical slots have on disk of transactions that do not fit into memory and are not over yet,
-- from version 15 on. Privilege: pg_monitor. Cost: lists one small folder a slot.
SELECT json_build_object('figures', COALESCE(json_agg(f), '[]'::json))::text AS workings
FROM (
    SELECT
        'decoding_spill_files_bytes' AS name, s.slot_name AS subject,
        COALESCE(sum(l.size) FILTER (WHERE right(l.name, 6) = '.spill'), 0)::float8 AS value,
        '' AS detail
    FROM pg_replication_slots AS s
    CROSS JOIN LATERAL pg_ls_replslotdir(s.slot_name::text) AS l
    WHERE s.slot_type = 'logical'
    GROUP BY s.slot_name
    ORDER BY s.slot_name
    LIMIT 50
) AS f
