-- Settings that wait for a restart, and every setting that somebody has set, for the inventory.
-- Of what may hold a password (the way to the primary, commands) only a checksum is kept.
-- Privilege: none to run; pg_read_all_settings (in pg_monitor) to see every setting.
SELECT json_build_object(
    'readings', json_build_array(json_build_object(
        'name', 'settings_pending_restart',
        'value', count(*) FILTER (WHERE pending_restart),
        'detail', left(string_agg(name, ', ' ORDER BY name) FILTER (WHERE pending_restart), 200)
    )),
    'items', json_agg(json_build_object(
        'kind', 'setting', 'name', name,
        'value', CASE
            WHEN name ~ '(conninfo|command|password|passphrase)'
                THEN 'md5 ' || md5(setting)
            ELSE left(setting, 200) || COALESCE(' ' || unit, '')
        END
    ) ORDER BY name)
    FILTER (WHERE source NOT IN ('default', 'override', 'client', 'session', 'interactive'))
)::text AS answer
FROM pg_settings
