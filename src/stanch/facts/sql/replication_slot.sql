-- One replication slot, by its name, with what tells it from another of that name.
-- Parameters: slot. Privilege: none for the slot; pg_monitor for the names of sessions.
-- Cost: one reading of the slots and of the sessions. Answers `{}` where no slot has that name.
SELECT COALESCE((
    SELECT json_build_object(
        'slot', r.slot_name,
        'plugin', r.plugin,
        'slot_type', r.slot_type,
        'database', r.database,
        'temporary', r.temporary,
        'active', r.active,
        'restart_lsn', r.restart_lsn,
        'confirmed_flush_lsn', r.confirmed_flush_lsn,
        -- From version 17 on.
        'inactive_since', to_json(r) ->> 'inactive_since',
        'synced', COALESCE((to_json(r) ->> 'synced')::boolean, false),
        'in_recovery', pg_is_in_recovery(),
        'at', clock_timestamp(),
        'patroni', EXISTS (
            SELECT FROM pg_stat_activity AS a WHERE a.application_name ILIKE 'patroni' || chr(37)
        ),
        'row', to_json(r)::text
    )
    FROM pg_replication_slots AS r
    WHERE r.slot_name = %(slot)s::name
), '{}'::json)::text AS answer
