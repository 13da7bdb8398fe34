-- Checkpoints since the statistics were reset. From version 17 on. Privilege: none.
SELECT json_build_object(
    'readings', json_build_array(
        json_build_object('name', 'checkpoints_timed_total', 'value', num_timed),
        json_build_object('name', 'checkpoints_requested_total', 'value', num_requested)
    )
)::text AS answer
FROM pg_stat_checkpointer
