-- One role, one timeout: what its new sessions start with, from where, and the statement that sets it
-- on condition that all of it is still so. Who uses the role just now, by application.
-- Parameters: role, database (empty: everywhere), setting, milliseconds. Versions: 13 to 18.
-- Privilege: pg_monitor; EXECUTE on pg_show_all_file_settings() and SELECT on pg_file_settings.
-- Cost: shared catalogues, one reading of sessions and of the settings files.
-- Answers `{}` where there is no such role or database.
SELECT COALESCE((
    SELECT json_build_object(
        'cluster', (SELECT system_identifier::text FROM pg_control_system()),
        'in_recovery', pg_is_in_recovery(),
        'role', r.rolname,
        'database', COALESCE(d.datname, ''),
        'superuser', r.rolsuper,
        'replication', r.rolreplication,
        'login', r.rolcanlogin,
        'ours', r.rolname = current_user,
        'own', own.value,
        'others', (
            SELECT json_agg(json_build_object('value', o.value))
            FROM (
                SELECT substr(c.entry, strpos(c.entry, '=') + 1) AS value
                FROM pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS c (entry)
                WHERE split_part(c.entry, '=', 1) = %(setting)s::text AND (
                    (s.setrole = r.oid AND s.setdatabase = 0 AND d.oid IS NOT NULL)
                    OR (s.setrole = 0 AND (s.setdatabase = 0 OR d.oid IS NULL OR s.setdatabase = d.oid))
                )
                UNION ALL
                SELECT f.setting FROM pg_file_settings AS f
                WHERE f.name = %(setting)s::text AND f.applied
            ) AS o
        ),
        'applications', (
            SELECT json_agg(DISTINCT jsonb_build_object('name', a.application_name))
            FROM pg_stat_activity AS a WHERE a.usesysid = r.oid
        ),
        'statement', 'DO ' || quote_literal(
            'BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid = ' || r.oid
            || ' AND r.rolname = ' || quote_literal(r.rolname)
            || ' AND NOT r.rolsuper AND NOT r.rolreplication)'
            || CASE WHEN d.oid IS NULL THEN '' ELSE
                ' OR NOT EXISTS (SELECT FROM pg_catalog.pg_database AS d WHERE d.oid = ' || d.oid
                || ' AND d.datname = ' || quote_literal(d.datname) || ')'
            END
            || ' OR (SELECT s.setconfig FROM pg_catalog.pg_db_role_setting AS s WHERE s.setrole = '
            || r.oid || ' AND s.setdatabase = ' || COALESCE(d.oid, 0) || ') IS DISTINCT FROM '
            || quote_nullable(here.setconfig::text) || '::text[]'
            || ' THEN RAISE EXCEPTION ''it is not what it was'' USING ERRCODE = ''STN01''; END IF; '
            || alter.sql || ' SET ' || quote_ident(%(setting)s::text) || ' = '
            || quote_literal(%(milliseconds)s::text || 'ms') || '; END'
        ),
        'undo', alter.sql || CASE
            WHEN own.value IS NULL THEN ' RESET ' || quote_ident(%(setting)s::text)
            ELSE ' SET ' || quote_ident(%(setting)s::text) || ' = ' || quote_literal(own.value)
        END
    )
    FROM pg_roles AS r
    LEFT JOIN pg_database AS d ON d.datname = %(database)s::text
    LEFT JOIN pg_db_role_setting AS here
        ON here.setrole = r.oid AND here.setdatabase = COALESCE(d.oid, 0)
    CROSS JOIN LATERAL (
        SELECT (
            SELECT substr(c.entry, strpos(c.entry, '=') + 1) FROM unnest(here.setconfig) AS c (entry)
            WHERE split_part(c.entry, '=', 1) = %(setting)s::text
        ) AS value
    ) AS own
    CROSS JOIN LATERAL (
        SELECT 'ALTER ROLE ' || quote_ident(r.rolname)
            || COALESCE(' IN DATABASE ' || quote_ident(d.datname), '') AS sql
    ) AS alter
    WHERE r.rolname = %(role)s::text AND (%(database)s::text = '' OR d.oid IS NOT NULL)
), '{}'::json)::text AS answer
