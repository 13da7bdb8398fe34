-- Checkpoints since the statistics were reset. Versions 13 to 16. Privilege: none.
SELECT json_build_object(
    'readings', json_build_array(
        json_build_object('name', 'checkpoints_timed_total', 'value', checkpoints_timed),
        json_build_object('name', 'checkpoints_requested_total', 'value', checkpoints_req)
    )
)::text AS answer
FROM pg_stat_bgwriter
