-- One parameter: its value, where that comes from, what the settings files say about it, and what
-- else a reload would bring into force. Values of other parameters are left out unless they differ.
-- Parameters: name. Versions: 13 to 18.
-- Privilege: pg_read_all_settings (in pg_monitor) to see sources; EXECUTE on
-- pg_show_all_file_settings() and SELECT on pg_file_settings, or superuser.
-- Cost: reads the settings files once. Answers `{}` where no parameter has that name.
SELECT COALESCE((
    SELECT json_build_object(
        'cluster', (SELECT system_identifier::text FROM pg_control_system()),
        'name', s.name,
        'setting', s.setting,
        'unit', s.unit,
        'context', s.context,
        'source', s.source,
        'default', s.boot_val,
        'pending_restart', s.pending_restart,
        'cluster_name_source', (
            SELECT c.source FROM pg_settings AS c WHERE c.name = 'cluster_name'
        ),
        'alter_system', COALESCE(current_setting('allow_alter_system', true), 'on') = 'on',
        'written', w.setting,
        'written_sql', quote_literal(w.setting),
        'below', (
            SELECT b.setting FROM pg_file_settings AS b
            WHERE b.name = s.name AND b.sourcefile <> auto.file
            ORDER BY b.seqno DESC LIMIT 1
        ),
        'errors', (
            SELECT json_agg(json_build_object(
                'said', left(concat_ws(' ', 'line', e.sourceline, e.name, e.error), 160)
            ))
            FROM pg_file_settings AS e
            WHERE e.error IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_settings AS r WHERE r.name = e.name AND r.pending_restart
            )
        ),
        'differing', (
            SELECT json_agg(json_build_object(
                'name', COALESCE(o.name, f.name),
                'written', f.setting,
                'setting', o.setting,
                'unit', o.unit
            ) ORDER BY COALESCE(o.name, f.name))
            FROM (SELECT * FROM pg_file_settings WHERE applied) AS f
            FULL JOIN (
                SELECT * FROM pg_settings WHERE context NOT IN ('postmaster', 'internal')
            ) AS o ON lower(o.name) = lower(f.name)
            WHERE o.source IN ('default', 'configuration file')
                AND (f.name IS NOT NULL OR o.source = 'configuration file')
                AND f.setting IS DISTINCT FROM o.setting
        )
    )
    FROM pg_settings AS s
    CROSS JOIN LATERAL (
        SELECT current_setting('data_directory') || '/postgresql.auto.conf' AS file
    ) AS auto
    LEFT JOIN LATERAL (
        SELECT x.setting FROM pg_file_settings AS x
        WHERE x.name = s.name AND x.sourcefile = auto.file
        ORDER BY x.seqno DESC LIMIT 1
    ) AS w ON true
    WHERE s.name = %(name)s::text
), '{}'::json)::text AS answer
