"""Connection strings mean what libpq makes of them, and complaints give nothing away."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanch.adapters.postgres.conninfo import resolve
from stanch.model.errors import SetupError


def test_a_service_with_its_passfile_is_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, passwords = tmp_path / "services", tmp_path / "pgpass"
    services.write_text("[orders]\nhost=db.example.com\nport=6000\ndbname=shop\nuser=jo\n")
    passwords.write_text("db.example.com:6000:shop:jo:s3cret\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("PGPASSFILE", str(passwords))

    found = resolve("service=orders")

    assert (found.host, found.port, found.user) == ("db.example.com", 6000, "jo")
    assert found.password == "s3cret"
    assert found.label == "shop at db.example.com:6000"
    assert "s3cret" not in repr(found)


def test_what_the_string_says_wins_over_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "services"
    services.write_text("[orders]\nhost=db.example.com\ndbname=shop\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))

    assert resolve("service=orders dbname=other").dbname == "other"
    assert resolve("service=orders", dbname="postgres").dbname == "postgres"


def test_the_environment_fills_what_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "7000")
    monkeypatch.setenv("PGSSLMODE", "require")

    found = resolve("host=db.example.com")

    assert (found.port, found.settings["sslmode"]) == (7000, "require")


@pytest.mark.parametrize(
    ("dsn", "label"),
    [
        ("postgresql://jo@[::1]:55/x", "x at [::1]:55"),
        ("host=/run/pg dbname=x port=6", "x at /run/pg port 6"),
        ("hostaddr=127.0.0.1 dbname=x", "x at 127.0.0.1:5432"),
        ("host=h dbname='a\x1bb'", "a\\x1bb at h:5432"),
    ],
)
def test_a_label_names_database_and_place(dsn: str, label: str) -> None:
    assert resolve(dsn).label == label


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("bogus=1", '"bogus"'),
        ("sslmode=foo", '"foo"'),
        ("service=nope", '"nope"'),
        ("port=abc", "port"),
        ("port=99999", "port"),
        ("host=a,b port=1,2", "several hosts"),
        ("orders", "missing"),
        ("host='abc", "unterminated"),
        ("host=a\0b", "zero byte"),
        ("host=\udce9", "UTF-8"),
    ],
)
def test_a_string_that_makes_no_sense_is_refused_with_the_reason(
    dsn: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "services"
    services.write_text("[other]\nhost=x\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))

    with pytest.raises(SetupError) as caught:
        resolve(dsn)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "host=x password=my hunter2",
        "postgresql://a:hunter2@[::1/x",
        "postgresql://a:x hunter2@h/x",
        'postgresql://a:hunter2"@[::1/x',
        "postgresql://a:hunter2%zz@h/x",
    ],
)
def test_a_complaint_never_quotes_a_password(dsn: str) -> None:
    with pytest.raises(SetupError) as caught:
        resolve(dsn)

    assert "hunter2" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


def test_a_service_with_several_hosts_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "services"
    services.write_text("[orders]\nhost=a,b\nport=1,2\ndbname=shop\nuser=jo\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))

    with pytest.raises(SetupError) as caught:
        resolve("service=orders")

    assert "several hosts" in str(caught.value)
    assert "a target of its own" in str(caught.value.hint)
