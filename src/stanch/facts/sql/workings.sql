-- What goes on inside one server beyond its vital signs: who does what and waits for what, who holds
-- which locks, and numbers by name. PostgreSQL 13 to 18.
-- Privilege: pg_monitor (without it other sessions are shown without what they do).
-- Cost: two readings of the sessions, one of the locks; once per diagnosis, never on a timer.
-- Never: a function that takes a lock on a user's table.
WITH sessions AS MATERIALIZED (
    SELECT
        a.pid, a.datname, a.usename, a.application_name, a.client_addr, a.backend_type, a.state,
        a.wait_event_type, a.wait_event, a.query_start, a.xact_start, a.state_change,
        a.backend_start, a.backend_xid, a.backend_xmin, a.query,
        -- From version 14 on.
        to_json(a) ->> 'query_id' AS query_id
    FROM pg_stat_activity AS a
    WHERE a.pid <> pg_backend_pid()
),
groups AS (
    SELECT
        backend_type, datname, usename, application_name, state, wait_event_type, wait_event,
        query_id, count(*) AS sessions,
        extract(epoch FROM clock_timestamp() - min(query_start)) AS oldest_query_s,
        extract(epoch FROM clock_timestamp() - min(xact_start)) AS oldest_xact_s,
        (array_agg(pid ORDER BY query_start NULLS LAST, pid))[1] AS oldest_pid,
        (array_agg(backend_start ORDER BY query_start NULLS LAST, pid))[1] AS oldest_backend_start,
        min(query_start) AS oldest_query_start,
        (array_agg(left(query, 500) ORDER BY query_start NULLS LAST, pid))[1] AS query
    FROM sessions
    WHERE state IS DISTINCT FROM 'idle'
        AND (backend_type <> 'client backend' OR state IS NOT NULL)
    GROUP BY
        backend_type, datname, usename, application_name, state, wait_event_type, wait_event,
        query_id
    ORDER BY count(*) DESC, min(query_start) NULLS LAST, backend_type, wait_event
    LIMIT 60
),
ended AS (
    -- What sessions that are idle now finished within the last second: work that comes in short
    -- pieces is seldom met while it runs.
    SELECT datname, usename, application_name, left(query, 500) AS query, count(*) AS sessions
    FROM sessions
    WHERE state = 'idle' AND backend_type = 'client backend'
        AND state_change > clock_timestamp() - interval '1 s'
    GROUP BY datname, usename, application_name, left(query, 500)
    ORDER BY count(*) DESC, left(query, 500), application_name
    LIMIT 30
),
anchor AS (
    -- How long one transaction id has lasted since the last checkpoint: by it the age of an id, which
    -- carries no time, becomes one in seconds. Of those before it, only where it is no wild guess.
    SELECT
        since_s / greatest(xids, 1) AS s_per_xid,
        CASE WHEN since_s >= 60 AND xids >= 1000 THEN 5 * xids ELSE xids END AS xids_max
    FROM (
        SELECT
            age(split_part(next_xid, ':', 2)::xid) AS xids,
            extract(
                epoch FROM clock_timestamp() - greatest(checkpoint_time, pg_postmaster_start_time())
            ) AS since_s
        FROM pg_control_checkpoint()
    ) AS last
),
held AS (
    SELECT
        l.pid, l.locktype, l.mode, l.granted, c.relname AS relation, s.state, s.application_name,
        s.backend_type, s.backend_start, s.query_start,
        extract(epoch FROM clock_timestamp() - s.xact_start) AS xact_s,
        extract(epoch FROM clock_timestamp() - s.state_change) AS state_s, count(*) AS locks
    FROM pg_locks AS l
    LEFT JOIN sessions AS s ON s.pid = l.pid
    LEFT JOIN pg_class AS c ON c.oid = l.relation
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    WHERE l.locktype = 'advisory'
        OR (l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock')
        -- No database has the number 0: so is called what those who send notifications lock.
        OR (l.locktype = 'object' AND l.classid = 1262 AND l.objid = 0)
    GROUP BY
        l.pid, l.locktype, l.mode, l.granted, c.relname, s.state, s.application_name,
        s.backend_type, s.backend_start, s.query_start, s.xact_start, s.state_change
    ORDER BY l.granted, s.xact_start NULLS LAST, l.pid, c.relname
    LIMIT 50
),
horizon AS (
    -- Everybody who keeps dead rows from being removed, by how many transactions.
    (
        SELECT
            CASE WHEN backend_type = 'walsender' THEN 'standby:' ELSE 'session:' END
                || COALESCE(application_name, '') AS subject,
            -- What has written something keeps rows between its statements, too, by its own id.
            greatest(age(backend_xid), age(backend_xmin)) AS xids,
            format('pid %s, %s, %s', pid, usename, state) AS detail,
            extract(epoch FROM clock_timestamp() - xact_start) AS held_s
        FROM sessions
        WHERE (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
            -- Others do not wait for the snapshot of a VACUUM (its ANALYZE is another matter).
            AND query !~* '^\s*(autovacuum: )?vacuum\y(?!.*analyze)'
        ORDER BY
            greatest(age(backend_xid), age(backend_xmin)) DESC, xact_start NULLS LAST, pid
        LIMIT 3
    )
    UNION ALL
    SELECT
        'slot:' || slot_name,
        greatest(age(xmin), age(catalog_xmin)),
        CASE WHEN active THEN 'active' ELSE 'inactive' END, NULL
    FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
    UNION ALL
    SELECT
        'prepared:' || gid, age(transaction), owner,
        extract(epoch FROM clock_timestamp() - prepared)
    FROM pg_prepared_xacts
),
settings AS (
    SELECT
        name,
        current_setting(name, true) AS value
    FROM unnest(ARRAY[
        'autovacuum', 'autovacuum_freeze_max_age', 'autovacuum_max_workers',
        'autovacuum_multixact_freeze_max_age', 'checkpoint_completion_target', 'checkpoint_timeout',
        'default_transaction_read_only', 'enable_bitmapscan', 'enable_hashjoin',
        'enable_indexonlyscan', 'enable_indexscan', 'enable_mergejoin', 'enable_nestloop',
        'enable_seqscan', 'fsync', 'full_page_writes', 'hot_standby_feedback', 'idle_session_timeout',
        'idle_in_transaction_session_timeout', 'lock_timeout', 'log_connections', 'log_lock_waits',
        'log_min_duration_statement', 'log_statement', 'logical_decoding_work_mem', 'max_connections',
        'max_locks_per_transaction', 'max_prepared_transactions', 'max_slot_wal_keep_size',
        'max_standby_streaming_delay', 'max_wal_size', 'password_encryption', 'plan_cache_mode',
        'random_page_cost',
        'server_version', 'shared_buffers', 'ssl', 'statement_timeout', 'synchronous_commit',
        'synchronous_standby_names', 'temp_file_limit', 'track_counts', 'transaction_timeout',
        'wal_compression', 'wal_level', 'work_mem'
    ]) AS name
),
figures AS (
    SELECT 'horizon_age_xids' AS name, subject, xids::float8 AS value, detail FROM horizon
    UNION ALL
    -- A standby and a slot tell an id alone: for how long is a guess.
    SELECT
        'horizon_held_s', subject, COALESCE(held_s, xids * s_per_xid)::float8, detail
    FROM horizon CROSS JOIN anchor
    UNION ALL
    -- Roles that can do anything, or reach the files and programs of the server, as the watch counts
    -- them; then how long ago, by estimate, some became members of those that may.
    SELECT
        'dangerous_roles', '', count(*)::float8, left(string_agg(rolname, ', ' ORDER BY rolname), 200)
    FROM pg_roles
    WHERE rolname !~ '^pg_' AND (
        rolsuper OR pg_has_role(oid, 'pg_write_server_files', 'MEMBER')
        OR pg_has_role(oid, 'pg_execute_server_program', 'MEMBER')
    )
    UNION ALL
    (
        SELECT
            'dangerous_member_age_s', r.rolname,
            (CASE WHEN age(m.xmin) <= xids_max THEN age(m.xmin) * s_per_xid END)::float8, g.rolname
        FROM pg_auth_members AS m
        JOIN pg_roles AS g ON g.oid = m.roleid
        JOIN pg_roles AS r ON r.oid = m.member
        CROSS JOIN anchor
        WHERE g.rolname IN ('pg_write_server_files', 'pg_execute_server_program')
            AND r.rolname !~ '^pg_'
        ORDER BY age(m.xmin), r.rolname LIMIT 5
    )
    UNION ALL
    -- What sessions that are idle now have run last, where it took in a whole table and stood alone.
    (
        SELECT
            'last_statement', format('%s@%s (%s)', usename, datname, application_name),
            extract(epoch FROM clock_timestamp() - state_change)::float8, left(query, 300)
        FROM sessions
        WHERE state = 'idle' AND backend_type = 'client backend'
            AND query ~* '^\s*(truncate|delete\s+from|update)\s'
            AND query !~* ';\s*\S'
            -- A condition that compares a thing with itself is none.
            AND (query !~* '\ywhere\y' OR query ~* '\ywhere\s+(\S+)\s*=\s*\1\s*;?\s*$')
            AND state_change > clock_timestamp() - interval '1 h'
        ORDER BY state_change DESC, pid LIMIT 10
    )
    UNION ALL
    SELECT 'xid_age_of_database', datname, age(datfrozenxid)::float8, ''
    FROM pg_database WHERE datfrozenxid <> '0'
    UNION ALL
    SELECT 'mxid_age_of_database', datname, mxid_age(datminmxid)::float8, ''
    FROM pg_database WHERE datminmxid <> '0'
    UNION ALL
    SELECT 'slru_reads_total', s.name, s.blks_read::float8, '' FROM pg_stat_slru AS s
    UNION ALL
    SELECT
        'checksum_failure_age_s', COALESCE(datname, 'shared'),
        extract(epoch FROM now() - checksum_last_failure)::float8, checksum_failures || ' in all'
    FROM pg_stat_database WHERE checksum_last_failure IS NOT NULL
    UNION ALL
    SELECT 'rows_returned_total', '', sum(tup_returned)::float8, '' FROM pg_stat_database
    UNION ALL
    SELECT 'rows_fetched_total', '', sum(tup_fetched)::float8, '' FROM pg_stat_database
    UNION ALL
    SELECT 'rows_inserted_total', '', sum(tup_inserted)::float8, '' FROM pg_stat_database
    UNION ALL
    SELECT 'rows_updated_total', '', sum(tup_updated)::float8, '' FROM pg_stat_database
    UNION ALL
    SELECT 'rows_deleted_total', '', sum(tup_deleted)::float8, '' FROM pg_stat_database
    UNION ALL
    SELECT 'blocks_read_total', '', sum(blks_read)::float8, '' FROM pg_stat_database
    UNION ALL
    SELECT 'blocks_hit_total', '', sum(blks_hit)::float8, '' FROM pg_stat_database
    UNION ALL
    -- From version 14 on; null before.
    SELECT 'sessions_total', '', sum((to_json(d) ->> 'sessions')::float8), ''
    FROM pg_stat_database AS d
    UNION ALL
    SELECT 'conflicts_total', c.kind, sum(c.n)::float8, ''
    FROM pg_stat_database_conflicts AS d
    CROSS JOIN LATERAL (
        VALUES
            ('lock', d.confl_lock), ('snapshot', d.confl_snapshot),
            ('bufferpin', d.confl_bufferpin), ('deadlock', d.confl_deadlock)
    ) AS c (kind, n)
    GROUP BY c.kind
    UNION ALL
    SELECT 'progress', 'basebackup', count(*)::float8, min(phase) FROM pg_stat_progress_basebackup
    UNION ALL
    SELECT 'progress', 'vacuum', count(*)::float8, min(phase) FROM pg_stat_progress_vacuum
    UNION ALL
    SELECT 'progress', 'cluster', count(*)::float8, min(phase) FROM pg_stat_progress_cluster
    UNION ALL
    SELECT 'progress', 'create index', count(*)::float8, min(phase)
    FROM pg_stat_progress_create_index
    UNION ALL
    -- 1 where the worker of a subscription runs. Found by name: everybody may read oid from 14 on.
    SELECT
        'subscription_worker', w.subname, CASE WHEN w.pid IS NULL THEN 0 ELSE 1 END::float8,
        CASE WHEN EXISTS (
            SELECT FROM pg_subscription AS s WHERE s.subname = w.subname AND s.subenabled
        ) THEN '' ELSE 'disabled' END
    FROM pg_stat_subscription AS w
    WHERE w.relid IS NULL
    UNION ALL
    SELECT 'role_expired', rolname, extract(epoch FROM now() - rolvaliduntil)::float8, ''
    FROM pg_roles WHERE rolcanlogin AND rolvaliduntil < now()
    UNION ALL
    -- The role that initdb made: no dump brings it along, so it tells a provider's server.
    SELECT 'cluster_owner', '', NULL, rolname FROM pg_roles WHERE oid = 10
    UNION ALL
    -- Since the last word of each receiver, by the pid of its walsender; the detail is the slot it
    -- uses. Null where it said none, or its clock (the time is the receiver's) cannot be right.
    SELECT
        'sender_silent_s', w.pid::text,
        CASE WHEN w.reply_time BETWEEN s.backend_start AND clock_timestamp() + interval '1 min'
            THEN greatest(0, extract(epoch FROM clock_timestamp() - w.reply_time))
        END::float8,
        COALESCE(r.slot_name::text, '')
    FROM pg_stat_get_wal_senders() AS w
    LEFT JOIN sessions AS s ON s.pid = w.pid
    LEFT JOIN pg_replication_slots AS r ON r.active_pid = w.pid
    UNION ALL
    -- Whom a server that is no standby now would follow: its old primary, where it was promoted.
    -- Host and port alone, as there may be a password beside them; hidden without pg_monitor.
    SELECT
        'followed', h.host[1], COALESCE(h.port[1], '5432')::float8, ''
    FROM (
        SELECT
            regexp_match(setting, '(?:^|\s)host\s*=\s*''?([[:alnum:]_.:/@-]{1,255})') AS host,
            regexp_match(setting, '(?:^|\s)port\s*=\s*''?(\d{1,5})') AS port
        FROM pg_settings WHERE name = 'primary_conninfo' AND NOT pg_is_in_recovery()
    ) AS h
    WHERE h.host IS NOT NULL
    UNION ALL
    -- What a slot is, by which it is told from another of its name; since when it has no consumer is
    -- told from version 17 on.
    SELECT v.name, r.slot_name, NULL, v.detail
    FROM pg_replication_slots AS r
    CROSS JOIN LATERAL (VALUES
        ('slot_plugin', r.plugin::text), ('slot_database', r.database::text),
        ('slot_restart_lsn', r.restart_lsn::text),
        ('slot_confirmed_lsn', r.confirmed_flush_lsn::text),
        ('slot_unused_since', to_json(r) ->> 'inactive_since')
    ) AS v (name, detail)
    WHERE v.detail IS NOT NULL
    UNION ALL
    -- Roles by which standbys and backups log in.
    (
        SELECT 'role_replicates', rolname::text, 1::float8, ''
        FROM pg_roles WHERE rolreplication AND rolcanlogin ORDER BY rolname LIMIT 20
    )
    UNION ALL
    SELECT 'role_settings', COALESCE(r.rolname, '') || '@' || COALESCE(d.datname, ''), NULL,
        array_to_string(s.setconfig, ', ')
    FROM pg_db_role_setting AS s
    LEFT JOIN pg_roles AS r ON r.oid = s.setrole
    LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
    UNION ALL
    -- Null where the right to see other sessions is missing.
    SELECT
        'sessions_begun_10s', '',
        CASE WHEN count(*) = count(s.backend_type) THEN
            count(*) FILTER (
                WHERE s.backend_type = 'client backend'
                AND s.backend_start > clock_timestamp() - interval '10 s'
            )
        END::float8,
        COALESCE((
            SELECT format('%s of application "%s"', count(*), t.application_name)
            FROM sessions AS t
            WHERE t.backend_type = 'client backend'
                AND t.backend_start > clock_timestamp() - interval '10 s' AND t.application_name <> ''
            GROUP BY t.application_name HAVING count(*) >= 3
            ORDER BY count(*) DESC, t.application_name LIMIT 1
        ), '')
    FROM sessions AS s
    UNION ALL
    -- The youngest: who came with a new version, and who was there before.
    (
        SELECT
            'session_age_s', s.pid::text,
            extract(epoch FROM clock_timestamp() - s.backend_start)::float8, s.application_name
        FROM sessions AS s
        WHERE s.backend_type = 'client backend' AND s.backend_start IS NOT NULL
        ORDER BY s.backend_start DESC, s.pid LIMIT 40
    )
    UNION ALL
    SELECT
        'settings_pending_restart', '', count(*)::float8,
        left(string_agg(name, ', ' ORDER BY name), 200)
    FROM pg_settings WHERE pending_restart
    UNION ALL
    SELECT
        'checkpoint_age_s', '', extract(epoch FROM clock_timestamp() - checkpoint_time)::float8, ''
    FROM pg_control_checkpoint()
    UNION ALL
    SELECT
        'replay_bytes', '', pg_wal_lsn_diff(
            CASE
                WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                ELSE pg_current_wal_insert_lsn()
            END,
            redo_lsn
        )::float8, ''
    FROM pg_control_checkpoint()
    UNION ALL
    SELECT 'settings_loaded_age_s', '', extract(epoch FROM now() - pg_conf_load_time())::float8, ''
    UNION ALL
    SELECT 'server_clock_s', '', extract(epoch FROM clock_timestamp())::float8, ''
    UNION ALL
    SELECT 'system_identifier', '', NULL, system_identifier::text FROM pg_control_system()
    UNION ALL
    SELECT 'lock_slots_used', '', count(*)::float8, '' FROM pg_locks WHERE NOT fastpath
    UNION ALL
    -- Whose transactions wait for their application, for a second and longer each, and how many
    -- sessions it has.
    (
        SELECT
            'idle_in_xact_sessions', application_name,
            count(*) FILTER (
                WHERE state LIKE 'idle in transaction%'
                    AND state_change < clock_timestamp() - interval '1 s'
            )::float8,
            count(*)::text
        FROM sessions WHERE backend_type = 'client backend'
        GROUP BY application_name ORDER BY 3 DESC, 2 LIMIT 3
    )
    UNION ALL
    -- Applications none of whose sessions does anything else: for how long that holds of all.
    (
        SELECT
            'idle_in_xact_all_s', application_name,
            extract(epoch FROM clock_timestamp() - max(state_change))::float8, count(*)::text
        FROM sessions WHERE backend_type = 'client backend'
        GROUP BY application_name HAVING bool_and(state LIKE 'idle in transaction%')
        ORDER BY 3 DESC, 2 LIMIT 3
    )
    UNION ALL
    SELECT 'setting', name, NULL, value FROM settings WHERE value IS NOT NULL
)
SELECT json_build_object(
    'groups', COALESCE((SELECT json_agg(g) FROM groups AS g), '[]'::json),
    'ended', COALESCE((SELECT json_agg(e) FROM ended AS e), '[]'::json),
    'locks', COALESCE((SELECT json_agg(h) FROM held AS h), '[]'::json),
    'figures', COALESCE((SELECT json_agg(f) FROM figures AS f), '[]'::json)
)::text AS workings
