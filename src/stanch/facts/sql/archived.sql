-- The newest WAL file that the server believes to be in its archive. Takes no right and no lock.
SELECT json_build_object(
    'last_wal', coalesce(last_archived_wal, ''),
    'segment_bytes', pg_size_bytes(current_setting('wal_segment_size'))
)::text AS archived
FROM pg_stat_archiver
