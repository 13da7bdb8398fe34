-- The texts of a few statements, by id. The schema of the extension and the ids are filled in.
-- Cost: the server reads the whole file of texts, which may be hundreds of megabytes, so this is
-- asked once per check-up and last, and a statement timeout ends it.
SELECT COALESCE(json_agg(t), '[]'::json)::text AS texts
FROM (
    SELECT DISTINCT ON (s.queryid) s.queryid::text AS queryid, left(s.query, 300) AS query
    FROM {schema}.pg_stat_statements(true) AS s
    WHERE s.queryid = ANY (ARRAY[{queryids}]::bigint[])
    ORDER BY s.queryid
) AS t
