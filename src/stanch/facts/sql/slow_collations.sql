-- Collations of this database that were another version when their indexes were built. The default
-- collation has a version of its own only from version 15 on; before, only named ones are compared.
-- Privilege: none.
SELECT json_build_object(
    'readings', json_build_array(json_build_object(
        'name', 'collation_mismatches', 'subject', current_database(), 'value', count(*),
        'detail', left(string_agg(name, ', ' ORDER BY name), 200)
    ))
)::text AS answer
FROM (
    SELECT c.collname AS name, c.collversion AS was, pg_collation_actual_version(c.oid) AS is_now
    FROM pg_collation AS c
    WHERE c.collversion IS NOT NULL AND EXISTS (
        SELECT FROM pg_attribute AS a WHERE a.attcollation = c.oid AND a.attrelid >= 16384
    )
    UNION ALL
    SELECT
        'the default of the database', to_json(d) ->> 'datcollversion',
        -- The library's version is the same for every collation of one locale and provider.
        (
            SELECT pg_collation_actual_version(c.oid)
            FROM pg_collation AS c
            WHERE c.collprovider::text = COALESCE(to_json(d) ->> 'datlocprovider', 'c')
                AND c.collprovider = 'c' AND c.collcollate = d.datcollate
            LIMIT 1
        )
    FROM pg_database AS d WHERE d.datname = current_database()
) AS v
WHERE was IS DISTINCT FROM is_now AND was IS NOT NULL AND is_now IS NOT NULL
