"""Logins, limits and rights on real servers, broken for real."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fix_certificates import Authority, serve_tls
from fix_servers import MakeServer
from looking import diagnose_dsn
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.diagnose.rank import STANDS_FROM
from stanch.model.diagnosis import Diagnosis, Verdict

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)
DAY = timedelta(days=1)


async def look(server: ScratchServer, dsn: str = "") -> Diagnosis:
    """As the watch's role, which sees every session, where no other is said."""
    return await diagnose_dsn(
        dsn or server.dsn(user="stanch_watch", dbname="app"),
        data_directory=str(server.data_directory),
        log=str(server.log_path),
        deadline_s=10.0,
    )


def named(found: Diagnosis) -> list[str]:
    return [c.id for c in found.causes if c.probability >= STANDS_FROM]


@on_18
async def test_a_password_that_has_expired(make_server: MakeServer) -> None:
    server = make_server(auth="scram-sha-256")
    server.query("ALTER ROLE app VALID UNTIL '2020-01-01'")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn("app"))
    found = await look(server, server.dsn("app"))
    assert named(found) == ["password_expired"], found
    assert found.causes[0].fact("role") == "app"


@on_18
async def test_a_role_that_may_not_log_in(server: ScratchServer) -> None:
    server.query("ALTER ROLE app NOLOGIN")
    found = await look(server, server.dsn("app"))
    assert named(found) == ["login_not_permitted"], found


@on_18
async def test_a_pg_hba_conf_that_shuts_a_role_out_and_one_that_cannot_be_read(
    server: ScratchServer,
) -> None:
    server.add_hba("host all app all reject")
    shut_out = await look(server, server.dsn("app"))
    for _ in range(100):
        if named(shut_out):
            break
        shut_out = await look(server, server.dsn("app"))
    assert named(shut_out) == ["hba_refused"], shut_out

    server.add_hba("nonsense")
    for _ in range(100):
        if "was not reloaded" in server.log_text():
            break
        server.query("SELECT pg_sleep(0.02)")
    found = await look(server)
    assert named(found) == ["hba_invalid"], found


@on_15
async def test_an_application_at_the_limit_of_its_role_is_turned_away(
    server: ScratchServer,
) -> None:
    server.query("ALTER ROLE app CONNECTION LIMIT 2")
    with ExitStack() as stack:
        for _ in range(3):
            with suppress(psycopg.OperationalError):
                stack.enter_context(psycopg.connect(server.dsn("app")))
        found = await look(server)
        itself = await look(server, server.dsn("app"))
    assert named(found) == ["connection_limit_reached"], found
    assert 'Role "app" has 2 of the 2' in found.summary
    assert named(itself) == ["connection_limit_reached"], itself


@on_15
async def test_a_primary_that_takes_no_writes_and_one_whose_watch_takes_none(
    server: ScratchServer,
) -> None:
    server.query("ALTER ROLE stanch_watch SET default_transaction_read_only = on")
    assert (await look(server)).verdict is Verdict.HEALTHY
    server.query("ALTER ROLE stanch_watch RESET ALL")
    server.set_conf({"default_transaction_read_only": "on"})
    with psycopg.connect(server.dsn("app"), autocommit=True) as session:
        for _ in range(6):
            with suppress(psycopg.errors.ReadOnlySqlTransaction):
                session.execute("CREATE TABLE never (n int)")
    found = await look(server)
    assert named(found) == ["read_only_setting"], found


@on_15
async def test_a_certificate_that_has_expired_and_one_of_another_issuer(
    make_server: MakeServer, authority: Authority, own_authority: tuple[object, str]
) -> None:
    server, now = make_server(), datetime.now(UTC)
    root = str(authority.root)
    dsn = server.dsn(
        "app", host="localhost", hostaddr="127.0.0.1", sslmode="verify-full", sslrootcert=root
    )
    certificate, key = authority.issue("localhost", begins=now - 30 * DAY, ends=now - 3 * DAY)
    serve_tls(server, certificate, key)
    while "offers no TLS" in str((await probe(dsn)).layers):
        server.query("SELECT pg_sleep(0.02)")
    found = await look(server, dsn)
    assert named(found) == ["certificate_expired"], found
    other = authority.issue("db.example.com", begins=now - DAY, ends=now + DAY)
    serve_tls(server, *other)
    while "expired" in str((await probe(dsn)).layers):
        server.query("SELECT pg_sleep(0.02)")
    assert named(await look(server, dsn)) == ["certificate_untrusted"]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn("app", sslmode="verify-ca", sslrootcert=own_authority[1]))
    for _ in range(100):
        if "unknown ca" in server.log_text():
            break
        server.query("SELECT pg_sleep(0.02)")
    assert all(words in server.log_text() for words in ("certificate expired", "unknown ca"))
