"""Which test fires each rule on the real thing; test_fired_for_real.py keeps it true.

`test_every_rule.py` feeds every rule the values that it judges. That shows nothing of where the
values come from: here stands, for each rule, the test in which a real server, pooler, daemon,
kernel or program is in that trouble and the rule tells it, or the strict stand-in of one that
cannot run here, driven by its real client.
"""

from __future__ import annotations

from collections.abc import Mapping

_SERVERS = "detect/test_on_servers.py::"
_VITALS = f"{_SERVERS}test_every_rule_over_vitals_can_fire_on_a_real_server"
_REPLAY = (
    f"{_SERVERS}test_a_standby_that_replays_nothing_is_told_by_both_and_one_with_nothing_to_replay"
    "_by_none"
)
_SILENT = "detect/test_silent_on_servers.py::"
_SLOW_LANE = f"{_SILENT}test_every_rule_over_the_slow_lane_can_fire_on_a_real_server"
_WAL = f"{_SILENT}test_slots_that_are_stuck_or_lost_and_damaged_pages_are_told"
_MACHINE = "detect/test_machine_rules.py::"
_SHORT = f"{_MACHINE}test_what_is_short_on_this_machine_is_told_and_nothing_by_the_usual_limits"
_FILLS = f"{_MACHINE}test_a_volume_that_fills_is_told_before_it_is_low_and_before_it_is_full"
_LOG = (
    "service/watched/test_following.py::"
    "test_what_only_the_log_tells_is_told_and_ordinary_errors_are_not"
)
_DOCKER = "adapters/hosts/test_docker.py::"
_CERTIFICATE = "adapters/test_certificates.py::test_days_chain_and_name_are_judged_each_for_itself"
_LOGS = "detect/test_log_rules.py::"
_KERNEL = f"{_LOGS}test_what_a_kernel_says_of_lost_damaged_and_frozen_storage_is_told"
_KILLED = (
    "stories/test_killed.py::test_a_crash_that_the_log_told_of_does_not_keep_a_server_that_serves"
    "_again_from_being_rescued"
)
_NEGLECT = "detect/test_backup_rules.py::test_each_neglect_of_backups_is_told_by_its_own_name"
_SHOP = "detect/test_application_rules.py::"
_SLOW_SHOP = f"{_SHOP}test_a_service_that_is_slower_than_usual_at_this_hour_is_told_twice"
_POOLS = "adapters/pools/test_pools.py::"
_FULL_POOL = f"{_POOLS}test_an_exhausted_pool_is_told_with_who_waits_until_the_pooler_gives_them_up"
_REPOSITORY = (
    "adapters/backups/test_pgbackrest.py::"
    "test_a_repository_is_told_before_and_after_its_first_backup_and_with_files_missing"
)

FIRED: Mapping[str, str] = {
    # --- reachability
    "blind": (
        "stories/test_blind.py::test_targets_that_fall_silent_at_once_are_one_page_and_those_that_refuse_are_not"
    ),
    "unwatched": (
        "adapters/postgres/test_probe.py::test_a_password_that_is_refused_for_ten_seconds_leaves_a_server_unwatched_and_not_down"
    ),
    "canary_unusable": (
        "adapters/postgres/test_canary.py::test_trouble_of_its_own_is_told_as_such_and_never_as_writes_that_fail"
    ),
    "writes_failing": (
        "stories/test_unseen.py::test_writes_that_hang_are_told_by_one_of_them_and_a_refused"
        "_password_is_sent_once_to_the_end"
    ),
    "other_cluster": (
        "service/watched/test_target.py::test_another_cluster_on_the_port_is_told_and_not_followed_until_the_policy_names_it"
    ),
    "reported": (
        "service/signals/test_mailbox.py::"
        "test_a_report_is_stored_as_it_comes_and_people_still_find_it_unread"
    ),
    "server_down": _KILLED,
    "outside_alert": (
        "stories/test_signals.py::"
        "test_an_alert_of_a_real_alertmanager_opens_an_incident_and_its_end_lets_it_close"
    ),
    # --- volumes
    "disk_full": _FILLS,
    "disk_low": _FILLS,
    "disk_short": _FILLS,
    "disk_filling": _FILLS,
    "inodes_low": _FILLS,
    # --- sessions
    "connections_exhausted": _VITALS,
    "sessions_blocked": _VITALS,
    "connections_high": _VITALS,
    "connection_limit_near": _VITALS,
    "long_transaction": _VITALS,
    "long_dump": _VITALS,
    "idle_in_transaction": _VITALS,
    "slow_query": _VITALS,
    "deadlocks": _VITALS,
    "temp_files_flood": _VITALS,
    "prepared_transaction_old": _VITALS,
    # --- WAL and replication
    "replication_delay": _REPLAY,
    "replication_lag": _REPLAY,
    "archive_failing": _VITALS,
    "archive_stalled": f"{_SERVERS}test_an_archive_command_that_hangs_is_told",
    "slot_retains_wal": _VITALS,
    "slot_inactive": _VITALS,
    "slot_stuck": _WAL,
    "slot_lost": _WAL,
    "standby_gone": f"{_SERVERS}test_a_receiver_that_goes_away_is_a_standby_gone",
    "xid_wraparound": _VITALS,
    "mxid_wraparound": _VITALS,
    "checksum_failures": _WAL,
    "pending_restart": _SLOW_LANE,
    # --- pools
    "pool_high": (
        f"{_POOLS}test_a_pooler_that_takes_no_more_clients_still_answers_the_session_kept_before"
    ),
    "pool_wait_long": _FULL_POOL,
    "pool_exhausted": _FULL_POOL,
    "pool_waiting": _FULL_POOL,
    # --- applications
    "error_rate_raised": (
        f"{_SHOP}test_a_service_that_fails_one_request_in_eighty_for_five_minutes_is_told"
    ),
    "error_budget_burn": f"{_SHOP}test_a_budget_that_burns_for_an_hour_is_told_and_a_burst_is_not",
    "latency_unusual": _SLOW_SHOP,
    "health_check_slow": _SLOW_SHOP,
    "requests_silent": (
        f"{_SHOP}test_a_service_of_which_nothing_is_heard_is_told_and_one_without_customers_is_not"
    ),
    "error_rate_high": (
        "adapters/services/test_prometheus.py::"
        "test_what_a_prometheus_sees_fail_is_told_and_what_it_sees_answer_is_not"
    ),
    "log_errors": (
        "adapters/services/test_log_stores.py::"
        "test_a_log_full_of_errors_is_told_and_an_error_now_and_then_is_not"
    ),
    "health_check_failing": (
        f"{_SHOP}test_a_service_that_lost_its_database_is_told_and_one_missed_answer_is_not"
    ),
    # --- machines
    "service_stopped": f"{_DOCKER}test_restarts_and_an_end_are_told_once_they_happen",
    "container_restarting": f"{_DOCKER}test_restarts_and_an_end_are_told_once_they_happen",
    "oom_kill": (
        f"{_DOCKER}test_a_process_that_is_killed_in_a_container_that_lives_on_is_counted_and_told"
    ),
    "clock_off": (
        "adapters/hosts/test_ssh.py::test_a_machine_whose_clock_is_ahead_is_told_and_one_whose_clock_is_right_is_not"
    ),
    "storage_errors": (_KERNEL),
    "storage_stalled": (_KERNEL),
    "volume_read_only": (
        f"{_MACHINE}test_a_volume_that_takes_no_writes_is_told_and_one_that_only_we_may_not_write_is_not"
    ),
    "memory_low": _SHORT,
    "cpu_stolen": _SHORT,
    "load_high": _SHORT,
    # --- backups
    "backup_verification_failed": _REPOSITORY,
    "backup_uploads_left": (
        "adapters/backups/test_s3.py::"
        "test_an_upload_that_goes_on_is_a_backup_being_taken_and_an_old_one_was_left"
    ),
    "archive_gap": _REPOSITORY,
    "backup_old": _NEGLECT,
    "backup_failed": _NEGLECT,
    "backup_small": _NEGLECT,
    "backup_retention_short": _NEGLECT,
    "backup_latest_wrong": _NEGLECT,
    "backup_unseen": _NEGLECT,
    "archive_holes": (
        "service/watched/test_backups.py::"
        "test_a_file_that_goes_missing_in_a_servers_archive_is_told_and_one_on_its_way_is_not"
    ),
    # --- what fails without a sound
    "table_bloated": (
        "facts/test_tables.py::"
        "test_the_estimate_is_near_what_is_counted_and_whole_tables_are_not_called_empty"
    ),
    "statement_slower": (
        "watch/slow/test_statements.py::"
        "test_a_statement_that_lost_its_index_is_told_and_a_reset_is_not"
    ),
    "slow_look_overdue": (
        "service/watched/test_slow_lane.py::"
        "test_a_server_too_full_to_be_looked_at_is_told_after_an_hour_and_one_looked_at_is_not"
    ),
    "sequence_near_end": _SLOW_LANE,
    "int4_key_near_end": _SLOW_LANE,
    "collation_changed": _SLOW_LANE,
    "index_invalid": _SLOW_LANE,
    "new_dangerous_role": _SLOW_LANE,
    "hba_errors": _SLOW_LANE,
    "settings_errors": _SLOW_LANE,
    # --- logs
    "log_unread": "watch/logs/test_run.py::test_a_log_that_was_emptied_is_told_as_a_gap",
    "login_failures": (
        "service/watched/test_following.py::test_logins_refused_by_the_dozen_are_told_and_a_password_typed_wrong_is_not"
    ),
    "addresses_banned": (
        f"{_LOGS}test_a_fail2ban_that_bans_two_dozen_addresses_is_told_and_its_restart_is_not"
    ),
    "log_corruption": _LOG,
    "log_config_error": _LOG,
    "log_out_of_memory": _LOG,
    "process_crashed": _LOG,
    # --- the way to the server
    "layer_slow": (
        "adapters/postgres/test_probe.py::test_a_way_that_takes_far_longer_than_in_three_weeks_is_told_and_than_in_two_is_not"
    ),
    "certificate_untrusted": _CERTIFICATE,
    "certificate_expiring": _CERTIFICATE,
}
"""Rule to test, as `file::function`; the file lies under `tests/`."""
