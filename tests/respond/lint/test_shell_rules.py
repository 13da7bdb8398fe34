"""Which commands of a runbook are risky, and which of their look-alikes are not."""

from __future__ import annotations

import pytest

from stanch.respond.lint.hazards import HAZARDS
from stanch.respond.lint.read import read_runbook


def found(text: str, *, said: str = "", info: str = "bash") -> list[str]:
    """Ids of what is risky in one block, below what is said before it."""
    read = read_runbook(f"# Runbook\n\n{said}\n\n```{info}\n{text}\n```\n")
    return [risky.hazard.id for risky in read.risky]


RISKY = [
    # --- the lock file
    ("rm -f /var/lib/postgresql/data/postmaster.pid", ["lock-file-removed"]),
    ('docker exec "$C" rm -f /var/lib/postgresql/data/postmaster.pid', ["lock-file-removed"]),
    ("ssh db.example.com 'sudo rm $PGDATA/postmaster.pid'", ["lock-file-removed"]),
    ('kubectl exec -n db pg-0 -c pg -- rm "$PGDATA"/postmaster.pid', ["lock-file-removed"]),
    ("find $PGDATA -name 'x' -o -path /data/postmaster.pid -delete", ["lock-file-removed"]),
    ("bash -c 'unlink /srv/postmaster.pid'", ["lock-file-removed"]),
    # --- files the server owns
    ("rm -rf $PGDATA/pg_wal/*", ["wal-removed"]),
    ("rm /var/lib/postgresql/15/main/pg_wal/0000000100000001*", ["wal-removed"]),
    ("find /var/lib/postgresql/15/main/pg_wal -mtime +1 -delete", ["wal-removed"]),
    ("find $PGDATA/pg_wal -type f -exec rm {} \\;", ["wal-removed"]),
    ("ls -t pg_wal/ | tail -n +50 | xargs rm", ["wal-removed"]),
    ("mv $PGDATA/pg_xact/0000 /tmp", ["wal-removed"]),
    ("pg_archivecleanup /var/lib/pgsql/data/pg_wal 00000001000000010000009A", ["wal-removed"]),
    ("pg_resetwal -f $PGDATA", ["wal-reset"]),
    ("su - postgres -c 'pg_resetxlog -f /data'", ["wal-reset"]),
    # --- the whole directory, and volumes
    ("rm -rf /var/lib/postgresql/15/main", ["data-directory-removed"]),
    ("rm -rf $PGDATA/*", ["data-directory-removed"]),
    ("docker volume rm pgdata", ["data-directory-removed"]),
    ("docker compose down -v", ["data-directory-removed"]),
    ("docker system prune -a --volumes -f", ["data-directory-removed"]),
    ("kubectl delete pvc data-postgres-0", ["data-directory-removed"]),
    ("chmod -R 777 /var/lib/postgresql", ["rights-opened"]),
    # --- processes
    ("kill -9 $(head -1 $PGDATA/postmaster.pid)", ["killed-hard"]),
    ("pkill -KILL postgres", ["killed-hard"]),
    ("kill -s KILL 4711", ["killed-hard"]),
    ("killall -9 postgres", ["killed-hard"]),
    ("docker kill pg", ["killed-hard"]),
    ("systemctl kill --signal=SIGKILL postgresql", ["killed-hard"]),
    ("kubectl delete pod pg-0 --force --grace-period=0", ["killed-hard"]),
    ("docker restart postgres", ["restart-before-look"]),
    ("systemctl restart postgresql@15-main", ["restart-before-look"]),
    ("pg_ctl -D $PGDATA restart", ["restart-before-look"]),
    ("docker logs pg\ndocker restart pg\nsleep 15\npg_isready", ["waits-blindly"]),
    ("docker update --memory=2g app_db", ["memory-limit-blind"]),
    ('C=$(docker ps --format "{{.Names}}" | head -n 1)', ["container-guessed"]),
    ("docker ps -lq", ["container-guessed"]),
    ("kubectl get pods -o jsonpath='{.items[0].metadata.name}'", ["container-guessed"]),
    ("pg_ctl promote -D /data", ["promoted-unfenced"]),
    ("touch /tmp/postgresql.trigger", ["promoted-unfenced"]),
    ('psql -c "SELECT pg_promote()"', ["promoted-unfenced"]),
    # --- space
    ("psql -d shop -c 'VACUUM FULL;'", ["vacuum-full"]),
    ('psql -c "VACUUM (FULL, VERBOSE) orders"', ["vacuum-full"]),
    ("psql -qc 'CLUSTER orders USING orders_pkey'", ["vacuum-full"]),
    ("ls -t shop_*.sql.gz | tail -n +4 | xargs rm -f", ["backups-removed"]),
    ("find /backups -mtime +7 -name '*.dump' -delete", ["backups-removed"]),
    ("aws s3 rm --recursive s3://shop-backups/2025/", ["backups-removed"]),
    ("truncate -s 0 /var/lib/docker/containers/*/*-json.log", ["container-log-truncated"]),
    ("> /var/lib/docker/containers/abc/abc-json.log", []),
    ("echo > /var/lib/docker/containers/abc/abc-json.log", ["container-log-truncated"]),
    # --- restoring
    ("bash /srv/scripts/restore.sh /backups/latest.sql.gz", ["restored-in-place"]),
    ("pg_restore --clean -d shop /backups/shop.dump", ["restored-in-place"]),
    ("gunzip -c /backups/shop.sql.gz | psql shop", ["restored-in-place"]),
    ("psql shop < /backups/shop.sql", ["restored-in-place"]),
    ("pgbackrest --stanza=main --delta restore", ["restored-in-place"]),
    # --- secrets
    ("PGPASSWORD=hunter2 psql -h db.example.com", ["secret-shown"]),
    ("psql postgresql://app:hunter2@db.example.com/shop", ["secret-shown"]),
    ("curl -H 'Authorization: Bearer abcdef0123' https://example.com", ["secret-shown"]),
    ("export DB_PASSWORD='hunter2'", ["secret-shown"]),
    ("curl -u admin:hunter2 https://example.com/api", ["secret-shown"]),
]


@pytest.mark.parametrize(("text", "ids"), RISKY, ids=[text[:60] for text, _ in RISKY])
def test_a_risky_command_is_found_whatever_runs_it(text: str, ids: list[str]) -> None:
    assert found(text) == ids


HARMLESS = [
    "cat $PGDATA/postmaster.pid",
    "mv $PGDATA/postmaster.pid $PGDATA/postmaster.pid.aside",
    "ls -l $PGDATA/pg_wal",
    "du -sh $PGDATA/pg_wal $PGDATA/base",
    "pg_resetwal -n $PGDATA",
    "find /var/log/postgresql -name '*.log' -mtime +7 -delete",
    "rm /var/lib/postgresql/ballast-1",
    "rm -rf /var/lib/postgresql/15/main.old",
    "mv $PGDATA $PGDATA.aside",
    "docker volume ls",
    "docker compose down",
    "kubectl delete pod pg-0",
    "chmod 0700 /var/lib/postgresql/15/main",
    "kill -TERM 4711",
    "docker kill --signal=HUP pg",
    "docker restart web",
    "docker logs pg\ndocker restart pg",
    "docker logs pg; docker restart pg; until pg_isready; do sleep 5; done",
    "docker update --restart=unless-stopped pg",
    'docker ps --filter name=^shop-db$ --format "{{.ID}}"',
    "kubectl get pods | grep postgres",
    "patronictl switchover",
    "touch /tmp/maintenance",
    'psql -c "VACUUM (ANALYZE) orders"',
    "vacuumdb --analyze-only shop",
    "pg_restore --list shop.dump\nls -t shop_*.sql.gz | tail -n +4 | xargs rm -f",
    "truncate -s 0 /var/log/app.log",
    "pg_restore --list /backups/shop.dump",
    "createdb shop_restored && pg_restore -d shop_restored /backups/shop.dump",
    "gunzip -c /backups/shop.sql.gz | psql shop_restored",
    "psql -f report.sql shop",
    "pgbackrest --stanza=main --pg1-path=/srv/beside restore",
    "pgbackrest --stanza=main info",
    "PGPASSWORD=$SECRET psql -h db.example.com",
    "psql postgresql://app:$PASSWORD@db.example.com/shop",
    "psql postgresql://app:<password>@db.example.com/shop",
    "curl -H 'Authorization: Bearer ***' https://example.com",
    "psql service=shop -c 'SELECT 1'",
    "echo 'rm -rf $PGDATA/pg_wal'",
    "# rm -rf $PGDATA/pg_wal/*",
]


@pytest.mark.parametrize("text", HARMLESS, ids=[text[:60] for text in HARMLESS])
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_a_restart_in_a_section_about_damage_is_worse_than_one_before_a_look() -> None:
    text = "docker logs pg\ndocker restart pg"
    assert found(text, said="The log says `invalid page in block 7`.") == ["restart-on-damage"]


def test_a_restore_for_one_damaged_index_is_told_twice() -> None:
    ids = found("bash ./bin/restore.sh latest.sql.gz", said="**Symptom:** `index is corrupted`")
    assert ids == ["restored-in-place", "whole-for-a-part"]
    looked = found(
        "psql -c \"SELECT bt_index_check('orders_pkey')\"\nbash ./bin/restore.sh x.sql.gz",
        said="**Symptom:** `index is corrupted`",
    )
    assert looked == ["restored-in-place"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pg_dump shop > /backups/emergency.sql\nbash ./restore.sh a.sql", True),
        ("pg_dump -Fc -f /b/emergency.dump shop\npg_restore -l /b/emergency.dump\n", False),
        ("set -e\npg_dump shop > emergency.sql\nbash ./restore.sh a.sql", False),
        ("pg_dump shop > emergency.sql && bash ./restore.sh a.sql", False),
    ],
)
def test_a_safety_copy_counts_once_somebody_looked_at_it(text: str, told: bool) -> None:
    ids = found(text, said="An emergency copy before the restore")
    assert ("copy-unchecked" in ids) is told


def test_migrations_belong_after_an_incident_and_not_into_it() -> None:
    assert "migrated-in-recovery" in found("npx prisma migrate deploy", said="After the restore")
    assert found("npx prisma migrate deploy", said="A release") == []


def test_steps_are_shown_whole_and_without_their_secrets() -> None:
    text = "```sh\nPGPASSWORD=hunter2 psql -h db.example.com \\\n  -c 'SELECT 1'\n```\n"
    [risky] = read_runbook(text).risky
    assert risky.line == 2
    assert risky.step == "PGPASSWORD=*** psql -h db.example.com -c 'SELECT 1'"


def test_prompts_and_fences_in_lists_are_read_as_well() -> None:
    assert found("$ sudo rm -f $PGDATA/postmaster.pid", info="console") == ["lock-file-removed"]
    listed = "1. Then:\n   ```bash\n   kill -9 42\n   ```\n"
    [risky] = read_runbook(listed).risky
    assert (risky.line, risky.hazard.id) == (3, "killed-hard")


def test_settings_that_lose_data_are_found_in_files_of_them() -> None:
    assert found("fsync = off\nwork_mem = 4MB", info="ini") == ["safety-turned-off"]
    assert found("archive_command = '/bin/true'", info="conf") == ["archive-discarded"]
    assert found("fsync = on", info="ini") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "```bash\n",
        "```bash\nif [ x\n```",
        "```sql\nSELECT FROM WHERE\n```",
        "\x00\x1b[31m" * 50,
    ],
)
def test_nonsense_is_read_without_a_finding(text: str) -> None:
    assert read_runbook(text).risky == ()


def test_a_deep_nest_of_wrappers_ends() -> None:
    nested = "sudo " * 50 + "rm -rf $PGDATA/pg_wal"
    assert read_runbook(f"```sh\n{nested}\n{'(' * 400}\n```\n").commands > 0


def test_every_hazard_says_why_and_what_instead_and_where_to_read() -> None:
    assert len({hazard.id for hazard in HAZARDS}) == len(HAZARDS)
    for hazard in HAZARDS:
        assert hazard.source.startswith("https://")
        assert all((hazard.what, hazard.why, hazard.instead))
        assert not hazard.what.endswith(".")
        assert not hazard.instead.endswith(".")
