-- Whether pg_stat_statements is installed in this database, where, which version, and whether it can
-- be asked. Its settings are known only where the server has loaded it.
-- Privilege: none.
SELECT json_build_object(
    'home', (
        SELECT json_build_object(
            'schema', n.nspname, 'version', e.extversion,
            'loaded', current_setting('pg_stat_statements.max', true) IS NOT NULL,
            'allowed', has_schema_privilege(n.oid, 'USAGE')
        )
        FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_stat_statements'
    )
)::text AS answer
