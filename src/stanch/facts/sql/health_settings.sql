-- Who answers, and the settings that decide whether data is safe, as one JSON object.
-- Privilege: none to run; pg_read_all_settings (in pg_monitor) to see every setting.
-- Cost: one scan of pg_settings; once per check-up, never on a timer.
SELECT json_build_object(
    'at', extract(epoch FROM clock_timestamp()),
    'version', current_setting('server_version'),
    'version_num', current_setting('server_version_num')::int,
    'started_at', extract(epoch FROM pg_postmaster_start_time()),
    'in_recovery', pg_is_in_recovery(),
    'database', current_database(),
    'role', current_user,
    'sees_settings', pg_has_role(current_user, 'pg_read_all_settings', 'USAGE'),
    'settings', (
        SELECT json_agg(json_build_object(
            'name', name, 'value', setting, 'unit', unit, 'source', source,
            'pending_restart', pending_restart
        ) ORDER BY name)
        FROM pg_settings
        WHERE pending_restart OR name IN (
            'allow_system_table_mods', 'archive_command', 'archive_library', 'archive_mode',
            'autovacuum', 'autovacuum_freeze_max_age', 'data_checksums', 'fsync',
            'full_page_writes', 'ignore_checksum_failure', 'ignore_system_indexes', 'listen_addresses', 'max_slot_wal_keep_size', 'password_encryption', 'ssl',
            'synchronous_commit', 'track_counts', 'wal_level', 'zero_damaged_pages'
        )
    ),
    'overrides', (
        SELECT json_agg(json_build_object(
            'database', d.datname, 'role', r.rolname,
            'name', split_part(o.setting, '=', 1),
            'value', substr(o.setting, strpos(o.setting, '=') + 1)
        ) ORDER BY d.datname, r.rolname, o.setting)
        FROM pg_db_role_setting AS s
        CROSS JOIN LATERAL unnest(s.setconfig) AS o (setting)
        LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
        LEFT JOIN pg_roles AS r ON r.oid = s.setrole
        WHERE split_part(o.setting, '=', 1) IN (
            'allow_system_table_mods', 'ignore_checksum_failure', 'ignore_system_indexes',
            'session_replication_role', 'synchronous_commit', 'zero_damaged_pages'
        )
    )
)::text AS settings
