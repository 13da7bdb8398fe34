-- Entries of the settings files that the server could not read: its next start would fail on them.
-- An entry that only waits for a restart has an error in this view as well, and is left out.
-- Privilege: superuser, or EXECUTE on pg_show_all_file_settings() and SELECT on pg_file_settings.
SELECT json_build_object(
    'readings', json_build_array(json_build_object(
        'name', 'settings_errors',
        'value', count(*),
        'detail', left(string_agg(
            concat_ws(' ', 'line', f.sourceline, f.name) || ': ' || f.error, '; '
        ), 200)
    ))
)::text AS answer
FROM pg_file_settings AS f
WHERE f.error IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_settings AS s WHERE s.name = f.name AND s.pending_restart)
