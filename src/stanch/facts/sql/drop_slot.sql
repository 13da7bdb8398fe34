-- Drop one replication slot if, and only if, it is still the one that was diagnosed and has not moved.
-- Look and drop are one statement; a slot that somebody takes meanwhile is an error (55006).
-- Parameters: slot, slot_type, plugin, database, restart_lsn, confirmed_flush_lsn (null: none).
-- Privilege: the attribute REPLICATION, or superuser; 42501 otherwise, and nothing has happened then.
-- Never: a slot in use, a temporary one, or one of which only the name is known.
WITH target AS MATERIALIZED (
    SELECT r.slot_name
    FROM pg_replication_slots AS r
    WHERE r.slot_name = %(slot)s::name
        AND NOT r.active
        AND NOT r.temporary
        AND NOT pg_is_in_recovery()
        AND r.slot_type = %(slot_type)s::text
        AND r.plugin IS NOT DISTINCT FROM %(plugin)s::name
        AND r.database IS NOT DISTINCT FROM %(database)s::name
        AND r.restart_lsn = %(restart_lsn)s::pg_lsn
        AND r.confirmed_flush_lsn IS NOT DISTINCT FROM %(confirmed_flush_lsn)s::pg_lsn
),
dropped AS MATERIALIZED (
    SELECT pg_drop_replication_slot(slot_name)::text AS gone FROM target
)
SELECT json_build_object(
    'matched', EXISTS (SELECT FROM target),
    'signalled', EXISTS (SELECT FROM dropped)
)::text AS outcome
