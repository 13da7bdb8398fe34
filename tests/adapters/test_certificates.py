"""Certificates of real TLS servers: days, chain and name, each for itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fix_certificates import NEW_KEY, Authority, openssl, serve_tls
from fix_servers import MakeServer
from samplings import Watched as Rules
from samplings import seen, target
from stanch.adapters.certificates import CertificateWatch, ServerCertificate, ServiceCertificate
from stanch.model.readings import Reading
from stanch.policy.signs import HealthCheck

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
Verdict = tuple[float | None, float | None]


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def encrypts(certificate: Path, key: Path) -> AsyncGenerator[tuple[int, list[int]]]:
    """The port of a server with this certificate, and a list that grows with each handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    came: list[int] = []

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(1)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], came


def shop(port: int, authority: Authority, *, host: str = "localhost") -> CertificateWatch:
    check = HealthCheck(name="shop", url=f"https://{host}:{port}/h", ca_file=str(authority.root))
    return CertificateWatch(ServiceCertificate(check), subject="shop", now=now)


async def look(watch: CertificateWatch) -> tuple[float | None, Verdict, str]:
    """Days, chain and name, and why not."""
    days, chain, name = await watch.look()
    assert (days.name, chain.name, name.name) == ("tls_days_left", "tls_chain_ok", "tls_name_ok")
    assert chain.detail == name.detail or days.value is None
    return days.value, (chain.value, name.value), chain.detail


def told(readings: tuple[Reading, ...], *, off: bool = True) -> list[str]:
    """What the rules raise within a minute; one of them is shipped switched off."""
    rules = Rules(target(certificate_untrusted={"off": off}))
    for at_s in (0, 30, 61):
        rules.look(at_s, seen(readings=readings))
    return sorted(key.partition(":")[0] for key in rules.raised)


@pytest.mark.parametrize(
    ("name", "ends_days", "verdict", "words"),
    [
        ("localhost", 90, (1.0, 1.0), ""),
        ("localhost", 3, (1.0, 1.0), ""),
        ("localhost", -3, (0.0, 1.0), "expired"),
        ("db.example.com", 90, (1.0, 0.0), "mismatch"),
        ("db.example.com", -3, (0.0, 0.0), "expired"),
    ],
)
async def test_days_chain_and_name_are_judged_each_for_itself(
    authority: Authority, name: str, ends_days: int, verdict: Verdict, words: str
) -> None:
    ends = NOW + ends_days * DAY
    authority.issue(name, begins=NOW - 30 * DAY, ends=ends)
    files = authority.folder / f"{name}.crt", authority.folder / f"{name}.key"
    async with encrypts(*files) as (port, _):
        watch = shop(port, authority)
        days, said, detail = await look(watch)
        readings = await watch.look()
    assert days == pytest.approx(ends_days, abs=0.01)
    assert said == verdict
    assert words in detail
    assert bool(detail) == (0.0 in verdict)
    soon = ["certificate_expiring"] if ends_days < 14 else []
    assert told(readings) == soon
    assert told(readings, off=False) == soon + ["certificate_untrusted"] * (0.0 in verdict)


@pytest.mark.parametrize(("name", "name_ok"), [("localhost", 1.0), ("other.example.com", 0.0)])
async def test_the_name_of_one_that_signed_itself_is_judged_all_the_same(
    authority: Authority, tmp_path: Path, name: str, name_ok: float
) -> None:
    key, crt = tmp_path / "k.pem", tmp_path / "c.pem"
    openssl("req", "-x509", *NEW_KEY, "-keyout", key, "-out", crt, "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}", "-days", "9")  # fmt: skip
    async with encrypts(crt, key) as (port, came):
        watch = shop(port, authority)
        days, said, detail = await look(watch)
        assert said == (0.0, name_ok)
        assert "self-signed" in detail
        assert days == pytest.approx(9, abs=0.01)
        judged = len(came)
        assert (await look(watch))[1] == said
        assert len(came) == judged + 1, "what is known is not judged again"


async def test_an_address_is_no_name_of_a_certificate_for_a_name(authority: Authority) -> None:
    authority.issue("localhost", begins=NOW - DAY, ends=NOW + DAY)
    files = authority.folder / "localhost.crt", authority.folder / "localhost.key"
    async with encrypts(*files) as (port, _):
        _, said, detail = await look(shop(port, authority, host="127.0.0.1"))
    assert said == (1.0, 0.0)
    assert "127.0.0.1" in detail


async def test_nobody_there_is_neither_good_nor_bad(authority: Authority) -> None:
    days, said, detail = await look(shop(1, authority))
    assert (days, said) == (None, (None, None))
    assert detail


async def test_what_is_not_encrypted_has_no_certificate() -> None:
    plain = ServiceCertificate(HealthCheck(name="shop", url="http://localhost:1/h"))
    assert await CertificateWatch(plain, subject="shop", now=now).look() == ()
    socket = ServerCertificate("host=/nowhere port=1 user=x dbname=x")
    assert await CertificateWatch(socket, subject="", now=now).look() == ()


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_server_whose_certificate_nobody_verifies_is_judged_without_a_login(
    make_server: MakeServer, authority: Authority
) -> None:
    server = make_server(conf={"log_connections": True})
    dsn = server.dsn("app", host="localhost", hostaddr="127.0.0.1", sslmode="require")
    strange = CertificateWatch(ServerCertificate(dsn), subject="", now=now)
    assert await strange.look() == (), "it offers no TLS"
    serve_tls(server, *authority.issue("localhost", begins=NOW - DAY, ends=NOW + 10 * DAY))
    readings = await strange.look()
    async with asyncio.timeout(10):
        while not readings:  # until the reload has reached the postmaster
            await asyncio.sleep(0.02)
            readings = await strange.look()
    assert [r.value for r in readings[1:]] == [0.0, 1.0], readings
    assert "issuer" in readings[1].detail
    await asyncio.sleep(0.2)
    before = server.log_text()
    assert (await look(strange))[1] == (0.0, 1.0)
    known = ServerCertificate(f"{dsn} sslrootcert={authority.root}")
    days, said, _ = await look(CertificateWatch(known, subject="", now=now))
    assert said == (1.0, 1.0)
    assert days == pytest.approx(10, abs=0.01)
    await asyncio.sleep(0.2)
    new = server.log_text()[len(before) :]
    assert "SSL" not in new, "a certificate that is known, or in order, leaves no line"
    assert "user=app" not in server.log_text(), "nobody logged in"
    assert "connection received" in new

    assert told(readings, off=False) == ["certificate_expiring", "certificate_untrusted"]
    assert told(readings) == ["certificate_expiring"]
