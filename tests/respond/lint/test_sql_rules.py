"""Which statements of a runbook are risky, and which of their look-alikes are not."""

from __future__ import annotations

import pytest

from stanch.respond.lint.read import read_runbook, read_sql


def found(text: str, *, said: str = "") -> list[str]:
    read = read_runbook(f"# Runbook\n\n{said}\n\n```sql\n{text}\n```\n")
    return [risky.hazard.id for risky in read.risky]


RISKY = [
    ("VACUUM FULL orders;", ["vacuum-full"]),
    ("DROP TABLE orders;", ["dropped-unguarded"]),
    ("DROP SCHEMA shop CASCADE", ["dropped-unguarded"]),
    ("DROP DATABASE IF EXISTS shop;", ["dropped-unguarded"]),
    ("TRUNCATE orders, customers;", ["dropped-unguarded"]),
    ("ALTER TABLE orders DROP COLUMN total;", ["dropped-unguarded"]),
    ("DELETE FROM orders;", ["changed-all-rows"]),
    ("UPDATE orders SET state = 'new';", ["changed-all-rows"]),
    ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity;", ["all-sessions-ended"]),
    (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
        ["all-sessions-ended"],
    ),
    (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop'"
        " AND state = 'idle' AND state_change < now() - interval '5 minutes';",
        ["idle-sessions-ended"],
    ),
    ("ALTER SYSTEM SET fsync = off;", ["safety-turned-off"]),
    ("SET zero_damaged_pages = on;", ["safety-turned-off"]),
    ("SET session_replication_role = 'replica';", ["safety-turned-off"]),
    ("ALTER ROLE repair SET session_replication_role = replica;", ["safety-turned-off"]),
    ("SELECT heap_force_kill('orders', ARRAY['(0,1)']::tid[]);", ["safety-turned-off"]),
    ("ALTER SYSTEM SET archive_command = '/bin/true';", ["archive-discarded"]),
    ("SELECT pg_drop_replication_slot('replica_1');", ["slot-dropped"]),
    ("CREATE INDEX ON orders (customer_id);", ["index-locks-writes"]),
    ("REINDEX INDEX orders_pkey;", ["index-locks-writes"]),
]

HARMLESS = [
    "VACUUM (ANALYZE) orders;",
    "DROP INDEX CONCURRENTLY orders_old_idx;",
    "DROP TABLE tmp_import;",
    "DROP DATABASE shop_restored;",
    "DELETE FROM orders WHERE id = 7;",
    "BEGIN;\nDELETE FROM orders;\nSELECT 1;\nROLLBACK;",
    "SELECT pg_terminate_backend(4711);",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shop';",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    " AND xact_start < now() - interval '1 hour';",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 1;",
    "ALTER SYSTEM SET work_mem = '64MB';",
    "ALTER SYSTEM SET fsync = on;",
    "CREATE INDEX CONCURRENTLY ON orders (customer_id);",
    "REINDEX INDEX CONCURRENTLY orders_pkey;",
    "SELECT count(*) FROM orders;",
    "SELECT 'DROP TABLE orders';",
    "-- DROP TABLE orders;\nSELECT 1;",
    "\\dt\n\\x on\nSELECT 1;",
]


@pytest.mark.parametrize(("text", "ids"), RISKY, ids=[text[:60] for text, _ in RISKY])
def test_a_risky_statement_is_found(text: str, ids: list[str]) -> None:
    assert found(text) == ids


@pytest.mark.parametrize("text", HARMLESS, ids=[text[:60] for text in HARMLESS])
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_what_has_to_be_filled_in_does_not_hide_a_statement() -> None:
    assert found("DROP TABLE <table>;") == ["dropped-unguarded"]
    assert found("DROP TABLE {{ table }};") == ["dropped-unguarded"]
    read = read_runbook('```sh\npsql -d "$DB" -c "DELETE FROM $TABLE"\n```\n')
    assert [risky.hazard.id for risky in read.risky] == ["changed-all-rows"]


def test_lines_are_those_of_the_file_also_behind_comments_and_psqls_own_commands() -> None:
    text = "-- look first\n\\timing on\nSELECT 1;\n\n-- then\nDROP TABLE\n  orders;\n"
    [risky] = read_sql(text).risky
    assert risky.line == 6


def test_statements_in_here_documents_and_pipes_are_read() -> None:
    heredoc = "```sh\npsql shop <<'SQL'\nSELECT 1;\nTRUNCATE orders;\nSQL\n```\n"
    [risky] = read_runbook(heredoc).risky
    assert (risky.line, risky.hazard.id) == (4, "dropped-unguarded")
    piped = read_runbook("```sh\necho 'VACUUM FULL;' | psql shop\n```\n")
    assert [risky.hazard.id for risky in piped.risky] == ["vacuum-full"]


@pytest.mark.parametrize(
    ("text", "said", "ids"),
    [
        ('SELECT COUNT(*) FROM "User";', "Verify data integrity", ["count-as-integrity"]),
        ("SELECT count(*) FROM pg_stat_activity;", "Verify data integrity", []),
        ("SELECT count(*), max(id) FROM orders;", "Verify data integrity", []),
        ("REINDEX DATABASE shop;", "Check for corruption", ["reindex-as-check"]),
    ],
)
def test_what_proves_nothing_is_told_where_a_proof_is_wanted(
    text: str, said: str, ids: list[str]
) -> None:
    assert found(text, said=said) == ids


def test_a_loop_that_rebuilds_every_index_is_no_check() -> None:
    text = """psql -Atc "SELECT indexname FROM pg_indexes" | \\
  xargs -I {} docker exec "$PG" psql -d shop -c "REINDEX INDEX {};"
"""
    read = read_runbook(f"### Integrity\n```bash\n# Check for corrupted indexes\n{text}```\n")
    assert [risky.hazard.id for risky in read.risky] == ["reindex-as-check"]
