-- How the server writes its log, as its own settings say. Takes no right and no lock.
SELECT json_build_object(
    'log_line_prefix', current_setting('log_line_prefix'),
    'log_timezone', current_setting('log_timezone')
)::text AS log_settings
