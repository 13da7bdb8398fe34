-- One database: whether its new transactions begin read-only, and the statement that makes them, on
-- condition that all of what is set for it is still so.
-- Parameters: database. Versions: 13 to 18. Privilege: none.
-- Cost: shared catalogues. Answers `{}` where there is no such database.
SELECT COALESCE((
    SELECT json_build_object(
        'cluster', (SELECT system_identifier::text FROM pg_control_system()),
        'in_recovery', pg_is_in_recovery(),
        'database', d.datname,
        'template', d.datistemplate,
        'maintenance', d.datname = 'postgres',
        'own', own.value,
        'statement', 'DO ' || quote_literal(
            'BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_database AS d WHERE d.oid = ' || d.oid
            || ' AND d.datname = ' || quote_literal(d.datname)
            || ') OR (SELECT s.setconfig FROM pg_catalog.pg_db_role_setting AS s'
            || ' WHERE s.setrole = 0 AND s.setdatabase = ' || d.oid || ') IS DISTINCT FROM '
            || quote_nullable(here.setconfig::text) || '::text[]'
            || ' THEN RAISE EXCEPTION ''it is not what it was'' USING ERRCODE = ''STN01''; END IF; '
            || alter.sql || ' SET default_transaction_read_only = on; END'
        ),
        'undo', alter.sql || CASE
            WHEN own.value IS NULL THEN ' RESET default_transaction_read_only'
            ELSE ' SET default_transaction_read_only = ' || quote_literal(own.value)
        END
    )
    FROM pg_database AS d
    LEFT JOIN pg_db_role_setting AS here ON here.setrole = 0 AND here.setdatabase = d.oid
    CROSS JOIN LATERAL (
        SELECT (
            SELECT substr(c.entry, strpos(c.entry, '=') + 1) FROM unnest(here.setconfig) AS c (entry)
            WHERE split_part(c.entry, '=', 1) = 'default_transaction_read_only'
        ) AS value
    ) AS own
    CROSS JOIN LATERAL (SELECT 'ALTER DATABASE ' || quote_ident(d.datname) AS sql) AS alter
    WHERE d.datname = %(database)s::text
), '{}'::json)::text AS answer
