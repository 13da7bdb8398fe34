-- What a server knows about its own backups: the archive of its WAL, and a backup under way.
-- Privilege: pg_monitor to see who takes a backup.
SELECT json_build_object(
    'archived', (
        SELECT json_build_object(
            'count', archived_count, 'failed_count', failed_count,
            'last_wal', last_archived_wal,
            'last_age_s', extract(epoch FROM clock_timestamp() - last_archived_time),
            'last_failed_age_s', extract(epoch FROM clock_timestamp() - last_failed_time),
            'last_failed_wal', last_failed_wal
        )
        FROM pg_stat_archiver
    ),
    'running', (
        SELECT json_agg(json_build_object(
            'phase', p.phase, 'streamed_bytes', p.backup_streamed, 'total_bytes', p.backup_total
        ))
        FROM pg_stat_progress_basebackup AS p
    )
)::text AS backups
