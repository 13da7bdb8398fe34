"""The one record on disk: events come in, timelines, wakes and leases go out.

SQLite in WAL mode under one writing process, beside it a spool for what could not be made durable
and an inbox for commands to a responder that hangs. Nothing here changes or deletes an event,
recreates a damaged database, or decides what an event means. See docs/adr/0001.
"""
