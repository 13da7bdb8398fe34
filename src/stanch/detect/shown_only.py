"""Readings that no rule judges, each with what it is for. All others that are made have a rule."""

from __future__ import annotations

from collections.abc import Mapping

SHOWN_ONLY: Mapping[str, str] = {
    "archive_missed_bytes": "WAL that one walk missed; what two walks miss is judged",
    "backup_unusable_s": "how long the newest backup is there and not whole; judged as failed",
    "blocked_total": "packets that a firewall dropped; any machine on the Internet sees thousands",
    "canary_ms": "how long the canary's write took",
    "canary_stuck_s": "since when the canary's write has not ended; its failing is judged",
    "checkpoints_requested_total": "checkpoints that were asked for before their time",
    "checkpoints_timed_total": "checkpoints that came in their time",
    "database_size_bytes": "which database grows, where a volume fills",
    "heartbeat_age_s": "how long ago a heartbeat came; its silence is a signal",
    "log_skipped_bytes_total": "how much of a log was passed over; that it happened is judged",
    "statement_calls_total": "how often a statement runs; how long it takes is judged",
    "table_size_bytes": "which table grows, where a volume fills",
    "uptime_s": "when the machine was started, beside everything else in a recording",
}
"""They stand in the flight recorder and, where there is one, in a metric."""
