-- Roles that can do anything, or reach the server's files and programs; all roles' rights as items.
-- Members count through every level of membership. The server's own pg_ roles do not count.
-- Privilege: none.
WITH rights AS (
    SELECT
        r.rolname, r.rolcanlogin,
        r.rolsuper
            OR pg_has_role(r.oid, 'pg_write_server_files', 'MEMBER')
            OR pg_has_role(r.oid, 'pg_execute_server_program', 'MEMBER') AS dangerous,
        concat_ws(
            ' ',
            CASE WHEN r.rolsuper THEN 'superuser' END,
            CASE WHEN r.rolcanlogin THEN 'login' END,
            CASE WHEN r.rolcreaterole THEN 'createrole' END,
            CASE WHEN r.rolcreatedb THEN 'createdb' END,
            CASE WHEN r.rolreplication THEN 'replication' END,
            CASE WHEN r.rolbypassrls THEN 'bypassrls' END,
            CASE WHEN r.rolconnlimit >= 0 THEN 'limit ' || r.rolconnlimit END,
            (
                SELECT 'member of ' || string_agg(g.rolname, ', ' ORDER BY g.rolname)
                FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid
                WHERE m.member = r.oid
            )
        ) AS described
    FROM pg_roles AS r
    WHERE r.rolname !~ '^pg_'
)
SELECT json_build_object(
    'readings', json_build_array(json_build_object(
        'name', 'dangerous_roles',
        'value', count(*) FILTER (WHERE dangerous),
        'detail', left(string_agg(rolname, ', ' ORDER BY rolname) FILTER (WHERE dangerous), 200)
    )),
    'items', (
        SELECT json_agg(json_build_object(
            'kind', 'role', 'name', i.rolname, 'value', left(i.described, 300)
        ) ORDER BY i.rolname)
        FROM (SELECT * FROM rights ORDER BY dangerous DESC, rolname LIMIT 500) AS i
    )
)::text AS answer
FROM rights
