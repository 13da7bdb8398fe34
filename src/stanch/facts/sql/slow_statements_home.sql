-- Whether pg_stat_statements is installed in this database, where, and which version.
-- Privilege: none.
SELECT json_build_object(
    'home', (
        SELECT json_build_object('schema', n.nspname, 'version', e.extversion)
        FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_stat_statements'
    )
)::text AS answer
