-- The texts of a few statements, by id; the parameter is a list of ids with commas between.
-- Cost: the server reads the whole file of texts, which may be hundreds of megabytes, so this is
-- asked once per check-up and last, and a statement timeout ends it.
SELECT COALESCE(json_agg(t), '[]'::json)::text AS texts
FROM (
    SELECT DISTINCT ON (s.queryid) s.queryid::text AS queryid, left(s.query, 300) AS query
    FROM pg_stat_statements(true) AS s
    WHERE s.queryid = ANY (string_to_array(%(queryids)s, ',')::bigint[])
    ORDER BY s.queryid
) AS t
