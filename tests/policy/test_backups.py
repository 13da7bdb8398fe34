"""How the policy says where backups lie."""

from __future__ import annotations

import pytest

from stanch.policy.backups import Backups, S3Bucket
from stanch.policy.canonical import canonical_text
from stanch.policy.hosts import DockerHost, SshHost
from stanch.policy.parse import parse_policy, read_policy

HEAD = """\
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example}}
ladder: [asha]
channels: {console: {type: terminal}}
targets:
  orders:
    dsn: service=orders
"""


def backups(written: str, *, host: str = "auto") -> Backups:
    text = f"{HEAD}    host: {host}\n    backups: {written}\n"
    policy = parse_policy(text, file="p")
    assert parse_policy(canonical_text(policy), file="stored") == policy
    return policy.targets[0].backups


def errors(written: str, *, host: str = "auto") -> list[tuple[str, str]]:
    parsed = read_policy(f"{HEAD}    host: {host}\n    backups: {written}\n", file="p")
    return [(f.path.removeprefix("targets.orders.backups."), f.what) for f in parsed.errors]


def test_buckets_have_names_and_promise_thirty_days_and_folders_seven() -> None:
    found = backups("{dumps: /b, s3: {r2: {bucket: example-backups, prefix: orders/}}}")
    assert found.dumps_keep_s == 7 * 86_400
    assert found.s3 == (S3Bucket(name="r2", bucket="example-backups", prefix="orders/"),)
    assert found.s3[0].keep_s == 30 * 86_400
    assert (found.any, found.any_wal) == (True, False)
    assert backups("{s3: {r2: {bucket: example-backups, wal_prefix: wal/}}}").any_wal


@pytest.mark.parametrize(
    ("on", "meant"),
    [
        ("here", "here"),
        ("{ssh: {host: repo.example.com}}", SshHost(host="repo.example.com")),
        ("{docker: {container: orders-db}}", DockerHost(container="orders-db")),
    ],
)
def test_a_stanza_is_asked_here_or_where_the_policy_says(on: str, meant: object) -> None:
    assert backups(f"{{pgbackrest: orders, pgbackrest_on: {on}}}").pgbackrest_on == meant


def test_a_stanza_on_the_targets_own_machine_needs_a_way_to_run_commands_there() -> None:
    way = "{pgbackrest: orders, pgbackrest_on: host}"
    assert backups(way, host="{ssh: {host: db.example.com}}").pgbackrest_on == "host"
    kubernetes = "{kubernetes: {namespace: shop, pod: db-0}}"
    for host in ("auto", "none", kubernetes):
        [(path, what)] = errors(way, host=host)
        assert path == "pgbackrest_on"
        assert "no command can be run" in what


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("{pgbackrest_on: {ssh: {host: repo.example.com}}}", "pgbackrest_on"),
        ("{pgbackrest: orders, pgbackrest_on: {docker: {}}}", "pgbackrest_on"),
        ("{pgbackrest: orders, pgbackrest_on: there}", "pgbackrest_on"),
        ("{s3: {r2: {prefix: orders/}}}", "s3.r2"),
        ("{s3: {r2: {bucket: a/b}}}", "s3.r2.bucket"),
        ("{s3: {r2: {bucket: example-backups, secret_key: x}}}", "s3.r2.secret_key"),
        ("{s3: {r2: {bucket: bbb, endpoint: 'https://key:secret@s3.example.com'}}}", "s3.r2"),
        ("{dumps: /b, dumps_keep: 1h}", "dumps_keep"),
        ("{wal: relative/path}", "wal"),
    ],
)
def test_what_cannot_be_meant_is_an_error_at_its_place(written: str, path: str) -> None:
    found = errors(written)
    assert found
    assert all(at.startswith(path) for at, _ in found), found


def test_a_secret_in_an_address_is_not_repeated() -> None:
    address = "'https://key:hush@s3.example.com'"
    [(_, what)] = errors(f"{{s3: {{r2: {{bucket: bbb, endpoint: {address}}}}}}}")
    assert "hush" not in what
