-- The server as a stop or a restart of it has to know it: which one it is, who would lose what, and
-- how much of its WAL a start would have to replay if it died now.
-- Privilege: pg_monitor (without it the processes and standbys of others are hidden). Versions: 13
-- to 18. Cost: one reading of the sessions, of the prepared transactions and of the control file.
WITH process AS MATERIALIZED (
    SELECT a.pid, a.backend_type, a.application_name, a.state, a.xact_start
    FROM pg_stat_get_activity(NULL) AS a
    WHERE a.pid <> pg_backend_pid()
),
position AS MATERIALIZED (
    SELECT CASE
        WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn()
    END AS lsn
)
SELECT json_build_object(
    'cluster', (SELECT system_identifier::text FROM pg_control_system()),
    'postmaster_start', extract(epoch FROM pg_postmaster_start_time()),
    'version_num', current_setting('server_version_num')::int,
    'in_recovery', pg_is_in_recovery(),
    'checkpointer_pid', (SELECT min(pid) FROM process WHERE backend_type = 'checkpointer'),
    'clients', (SELECT count(*) FROM process WHERE backend_type = 'client backend'),
    'transactions', (
        SELECT count(*) FROM process
        WHERE backend_type = 'client backend' AND xact_start IS NOT NULL
    ),
    'oldest_transaction_s', (
        SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM process
        WHERE backend_type = 'client backend'
    ),
    'applications', (
        SELECT json_agg(json_build_object('name', n.name) ORDER BY n.name)
        FROM (
            SELECT DISTINCT left(application_name, 64) AS name FROM process
            WHERE application_name <> '' AND backend_type IN ('client backend', 'walsender')
        ) AS n
    ),
    'base_backups', (SELECT count(*) FROM pg_stat_progress_basebackup),
    'prepared', (SELECT count(*) FROM pg_prepared_xacts),
    'prepared_gids', (
        SELECT json_agg(json_build_object('name', left(p.gid, 64)) ORDER BY p.prepared)
        FROM (SELECT gid, prepared FROM pg_prepared_xacts ORDER BY prepared LIMIT 5) AS p
    ),
    'standbys', (
        SELECT json_agg(json_build_object('name', left(application_name, 64)))
        FROM process WHERE backend_type = 'walsender'
    ),
    'waits_for_restart', (
        SELECT json_agg(json_build_object('name', name) ORDER BY name)
        FROM pg_settings WHERE pending_restart
    ),
    'checkpoint_age_s', (
        SELECT extract(epoch FROM clock_timestamp() - checkpoint_time) FROM pg_control_checkpoint()
    ),
    'replay_bytes', (
        SELECT pg_wal_lsn_diff(position.lsn, c.redo_lsn)::bigint
        FROM pg_control_checkpoint() AS c, position
    )
)::text AS answer
