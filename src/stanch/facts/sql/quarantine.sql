-- The tables of a name, or of a schema, with who may write to them beside their owners; the statement
-- that takes those rights away on condition that all rights are still as read; the way back, which
-- also restores the order of the entries.
-- Parameters: kind (table or schema), name (as schema.table, or the schema). Versions: 13 to 18.
-- Privilege: none. Cost: pg_class, pg_attribute and their rights, of these tables.
WITH chosen AS (
    SELECT
        c.oid, c.relname, n.nspname, c.relowner, c.relacl, w.rolname AS owner,
        quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name,
        (
            SELECT string_agg(a.attnum || a.attacl::text, ' ' ORDER BY a.attnum)
            FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL
        ) AS column_acls
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_roles AS w ON w.oid = c.relowner
    WHERE c.relkind IN ('r', 'p', 'v', 'f') AND CASE %(kind)s::text
        WHEN 'table' THEN n.nspname || '.' || c.relname = %(name)s::text
        WHEN 'schema' THEN n.nspname = %(name)s::text
    END
),
items AS (
    SELECT c.oid, 0 AS attnum, '' AS of_column, i.item, i.place
    FROM chosen AS c CROSS JOIN LATERAL unnest(c.relacl) WITH ORDINALITY AS i (item, place)
    UNION ALL
    SELECT c.oid, a.attnum, ' (' || quote_ident(a.attname) || ')', i.item, i.place
    FROM chosen AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid
    CROSS JOIN LATERAL unnest(a.attacl) WITH ORDINALITY AS i (item, place)
),
entries AS (
    SELECT
        c.oid, c.name, c.relowner, i.attnum, i.of_column, i.place, e.grantor, e.grantee,
        e.privilege_type AS privilege, e.is_grantable,
        CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END AS who,
        e.grantee <> c.relowner
            AND e.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') AS writes
    FROM items AS i
    JOIN chosen AS c ON c.oid = i.oid
    CROSS JOIN LATERAL aclexplode(ARRAY[i.item]) AS e
    LEFT JOIN pg_roles AS r ON r.oid = e.grantee
),
lost AS (
    SELECT
        name, attnum, who,
        'REVOKE ' || string_agg(DISTINCT privilege || of_column, ', ') || ' ON TABLE ' || name
            || ' FROM ' || who AS sql
    FROM entries WHERE writes GROUP BY name, attnum, who
),
-- From the first entry that loses something on, all are taken away and given again in their order;
-- of columns all, because what is taken away from a table is taken away from its columns, too.
again AS (
    SELECT e.* FROM entries AS e
    WHERE EXISTS (SELECT FROM entries AS x WHERE x.oid = e.oid AND x.writes) AND (
        e.attnum > 0 OR e.place >= (
            SELECT min(x.place) FROM entries AS x WHERE x.oid = e.oid AND x.attnum = 0 AND x.writes
        )
    )
),
back AS (
    SELECT
        oid, attnum, place, 0 AS turn,
        'REVOKE ALL' || of_column || ' ON TABLE ' || name || ' FROM ' || who AS sql
    FROM again GROUP BY oid, attnum, of_column, place, name, who
    UNION ALL
    SELECT
        oid, attnum, place, CASE WHEN is_grantable THEN 2 ELSE 1 END,
        'GRANT ' || string_agg(privilege || of_column, ', ' ORDER BY privilege) || ' ON TABLE '
            || name || ' TO ' || who || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM again GROUP BY oid, attnum, of_column, place, name, who, is_grantable
),
bound AS (
    SELECT string_agg(
        'NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n'
        || ' ON n.oid = c.relnamespace WHERE c.oid = ' || oid
        || ' AND c.relname = ' || quote_literal(relname)
        || ' AND n.nspname = ' || quote_literal(nspname) || ' AND c.relowner = ' || relowner
        || ' AND c.relacl::text IS NOT DISTINCT FROM ' || quote_nullable(relacl::text)
        || ' AND (SELECT string_agg(a.attnum || a.attacl::text, '' '' ORDER BY a.attnum)'
        || ' FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL)'
        || ' IS NOT DISTINCT FROM ' || quote_nullable(column_acls) || ')', ' OR ' ORDER BY oid
    ) AS sql
    FROM chosen
)
SELECT json_build_object(
    'cluster', (SELECT system_identifier::text FROM pg_control_system()),
    'in_recovery', pg_is_in_recovery(),
    'tables', (
        SELECT json_agg(json_build_object(
            'oid', oid::int8, 'name', name, 'schema', nspname, 'owner', owner, 'acl', relacl::text,
            'columns', column_acls
        ) ORDER BY oid) FROM chosen
    ),
    'granted_by_others', EXISTS (SELECT FROM entries WHERE grantor <> relowner),
    'unnamed', EXISTS (SELECT FROM entries WHERE who IS NULL),
    'writers', (SELECT json_agg(json_build_object('name', who) ORDER BY who) FROM (
        SELECT DISTINCT who FROM lost
    ) AS l),
    'statement', 'DO ' || quote_literal(
        'BEGIN IF ' || (SELECT sql FROM bound)
        || ' THEN RAISE EXCEPTION ''it is not what it was'' USING ERRCODE = ''STN01''; END IF; '
        || (SELECT string_agg(sql || '; ', '' ORDER BY name, attnum, who) FROM lost) || 'END'
    ),
    'undo', 'BEGIN; '
        || (
            SELECT string_agg(sql || '; ', '' ORDER BY oid, attnum, LEAST(turn, 1), place, turn)
            FROM back
        ) || 'COMMIT'
)::text AS answer
