"""The questions asked of servers and hosts, and the parsers of their answers.

Comes in: raw answers (JSON, log bytes, a lock file, `pg_controldata` text). Goes out: typed facts
and the plain judgements that need nothing but them. Never: a connection, a file handle, a clock.
"""
