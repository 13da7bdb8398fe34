-- Lines of pg_hba.conf that the server could not read: its next start would fail on them.
-- Privilege: superuser, or EXECUTE on pg_hba_file_rules() and SELECT on the view of that name.
SELECT json_build_object(
    'readings', json_build_array(json_build_object(
        'name', 'hba_errors',
        'value', count(*),
        'detail', left(string_agg('line ' || line_number || ': ' || error, '; '), 200)
    ))
)::text AS answer
FROM pg_hba_file_rules
WHERE error IS NOT NULL
