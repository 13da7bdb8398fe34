-- Which databases there are, and which of them the asking role may visit; the server's version.
-- Privilege: none.
SELECT json_build_object(
    'databases', json_agg(datname ORDER BY oid) FILTER (
        WHERE datallowconn AND NOT datistemplate AND has_database_privilege(oid, 'CONNECT')
    ),
    'items', json_agg(json_build_object(
        'kind', 'database', 'name', datname,
        'value', concat_ws(
            ' ', pg_encoding_to_char(encoding), datcollate,
            CASE WHEN NOT datallowconn THEN 'closed' END,
            CASE WHEN datconnlimit >= 0 THEN 'limit ' || datconnlimit END
        )
    ) ORDER BY oid)::jsonb || jsonb_build_array(jsonb_build_object(
        'kind', 'server', 'name', 'version', 'value', current_setting('server_version')
    ))
)::text AS answer
FROM pg_database
