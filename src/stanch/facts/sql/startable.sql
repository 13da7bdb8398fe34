-- What of its files would keep a server from starting again: lines that it cannot read. A setting
-- that only waits for a restart has an error in pg_file_settings as well, and is left out.
-- Privilege: superuser, or EXECUTE on pg_show_all_file_settings() and pg_hba_file_rules() and SELECT
-- on pg_file_settings and pg_hba_file_rules. Versions: 13 to 18. Cost: reads both files once.
SELECT json_build_object(
    'settings', (
        SELECT json_agg(json_build_object(
            'name', left(concat_ws(' ', 'line', f.sourceline, f.name, f.error), 160)
        ))
        FROM pg_file_settings AS f
        WHERE f.error IS NOT NULL
            AND NOT EXISTS (SELECT FROM pg_settings AS s WHERE s.name = f.name AND s.pending_restart)
    ),
    'rules', (
        SELECT json_agg(json_build_object(
            'name', left(concat_ws(' ', 'line', h.line_number, h.error), 160)
        ))
        FROM pg_hba_file_rules AS h
        WHERE h.error IS NOT NULL
    ),
    'rules_read', (SELECT count(*) FROM pg_hba_file_rules AS h WHERE h.error IS NULL)
)::text AS answer
