-- Writes of the canary that the server has under way, ours and those a lost session left behind; the
-- oldest, and what it waits for.
-- Privilege: none; sessions of the same role.
-- Cost: one scan of pg_stat_activity; once when writing begins, and while a write is late.
SELECT coalesce((
  SELECT json_build_object(
    'age_s', extract(epoch FROM clock_timestamp() - query_start),
    'wait_event_type', wait_event_type,
    'wait_event', wait_event)
  FROM pg_stat_activity
  WHERE application_name = 'stanch canary' AND usename = current_user AND state = 'active'
  ORDER BY query_start LIMIT 1), '{}')::text AS canary_sessions
