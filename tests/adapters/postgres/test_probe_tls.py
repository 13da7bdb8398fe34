"""TLS as sslmode demands it, on a real server with real certificates."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fix_certificates import NEW_KEY, Authority, openssl, serve_tls
from fix_servers import MakeServer
from stanch.adapters.postgres.greeting import gone
from stanch.adapters.postgres.knock import greet
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.tls import Validity
from stanch.model.reach import ReachState

# The other version's binaries come without OpenSSL.
pytestmark = pytest.mark.parametrize("pg_major", [15], indirect=True)


def verified(server: ScratchServer, root: Path, *, host: str = "localhost") -> str:
    return server.dsn(
        "app", host=host, hostaddr="127.0.0.1", sslmode="verify-full", sslrootcert=str(root)
    )


NOW = datetime.now(UTC)
DAY = timedelta(days=1)


async def state_with_tls(dsn: str) -> ReachState:
    """The state once the reloaded server offers TLS."""
    reach = await probe(dsn)
    for _ in range(200):
        if "offers no TLS" not in str(reach.layers):
            break
        reach = await probe(dsn)
    return reach.state


async def test_a_server_without_tls_fails_what_demands_it(make_server: MakeServer) -> None:
    server = make_server()

    demanded = await probe(server.dsn("app", sslmode="require"))
    preferred = await probe(server.dsn("app", sslmode="prefer"))

    assert demanded.state is ReachState.TLS_FAILURE
    assert "offers no TLS" in demanded.layers[-1].detail
    assert preferred.state is ReachState.UP


async def test_a_certificate_in_order_passes_every_mode(
    make_server: MakeServer, authority: Authority
) -> None:
    server = make_server(auth="scram-sha-256")
    serve_tls(server, *authority.issue("localhost", begins=NOW - DAY, ends=NOW + 10 * DAY))
    assert await state_with_tls(verified(server, authority.root)) is ReachState.UP

    for mode in ("disable", "allow", "prefer", "require"):
        reach = await probe(server.dsn("app", sslmode=mode))
        assert reach.state is ReachState.UP, mode
    tls = next(layer for layer in reach.layers if layer.name == "tls")
    assert "valid for 9 days more" in tls.detail
    assert reach.certificate_ends is not None
    assert timedelta(days=9) < reach.certificate_ends - datetime.now(UTC) < timedelta(days=10)


async def test_an_expired_certificate_is_named_with_its_days(
    make_server: MakeServer, authority: Authority
) -> None:
    server = make_server()
    serve_tls(server, *authority.issue("localhost", begins=NOW - 30 * DAY, ends=NOW - 3 * DAY))
    assert await state_with_tls(verified(server, authority.root)) is ReachState.TLS_FAILURE

    expired = await probe(verified(server, authority.root))
    not_looked_at = await probe(server.dsn("app", sslmode="require"))

    assert "expired 3 days ago" in expired.layers[-1].detail
    assert expired.layers[-1].name == "tls"
    assert not_looked_at.state is ReachState.UP


async def test_a_certificate_for_another_host_fails_verify_full_only(
    make_server: MakeServer, authority: Authority
) -> None:
    server = make_server()
    serve_tls(server, *authority.issue("db.example.com", begins=NOW - DAY, ends=NOW + DAY))
    full = verified(server, authority.root)
    assert await state_with_tls(full) is ReachState.TLS_FAILURE

    assert "mismatch" in (await probe(full)).layers[-1].detail.lower()
    assert (await probe(full.replace("verify-full", "verify-ca"))).state is ReachState.UP
    assert (
        await probe(verified(server, authority.root, host="db.example.com"))
    ).state is ReachState.UP


async def test_an_issuer_nobody_trusts_fails(
    make_server: MakeServer, authority: Authority, tmp_path: Path
) -> None:
    server = make_server()
    serve_tls(server, *authority.issue("localhost", begins=NOW - DAY, ends=NOW + DAY))
    openssl("req", "-x509", *NEW_KEY, "-keyout", tmp_path / "k", "-out", tmp_path / "other.crt",
            "-subj", "/CN=Other Root", "-days", "3")  # fmt: skip

    assert await state_with_tls(verified(server, tmp_path / "other.crt")) is ReachState.TLS_FAILURE


async def test_a_missing_root_certificate_is_named(
    make_server: MakeServer, authority: Authority, tmp_path: Path
) -> None:
    server = make_server()
    serve_tls(server, *authority.issue("localhost", begins=NOW - DAY, ends=NOW + DAY))
    dsn = verified(server, tmp_path / "absent.crt")
    assert await state_with_tls(dsn) is ReachState.TLS_FAILURE

    assert "absent.crt does not exist" in (await probe(dsn)).layers[-1].detail


async def test_a_rule_for_unencrypted_sessions_only_is_found_by_prefer(
    make_server: MakeServer, authority: Authority
) -> None:
    server = make_server()
    serve_tls(server, *authority.issue("localhost", begins=NOW - DAY, ends=NOW + DAY))
    assert await state_with_tls(server.dsn("app", sslmode="require")) is ReachState.UP
    server.add_hba("hostssl all app all reject")

    demanded = await probe(server.dsn("app", sslmode="require"))
    while demanded.state is ReachState.UP:  # until the reload has reached the postmaster
        demanded = await probe(server.dsn("app", sslmode="require"))
    preferred = await probe(server.dsn("app", sslmode="prefer"))

    assert demanded.state is ReachState.AUTH_FAILED
    assert preferred.state is ReachState.UP
    assert [layer.name for layer in preferred.layers].count("tcp") == 1


async def test_channel_binding_that_is_demanded_is_left_to_libpq(
    make_server: MakeServer, authority: Authority
) -> None:
    server = make_server(auth="scram-sha-256")
    serve_tls(server, *authority.issue("localhost", begins=NOW - DAY, ends=NOW + DAY))
    bound = server.dsn("app", sslmode="require", channel_binding="require")
    assert await state_with_tls(bound) is ReachState.UP

    wrong = await probe(server.dsn("app", sslmode="require", channel_binding="require",
                                   password="wrong"))  # fmt: skip

    assert wrong.state is ReachState.AUTH_FAILED
    assert server.log_text().count("password authentication failed") == 1


@pytest.mark.parametrize(
    ("begins_days", "ends_days", "words"),
    [
        (-30, -1, "expired 1 day ago"),
        (-30, -400, "expired 400 days ago"),
        (2, 30, "becomes valid in 2 days"),
        (-30, 0.01, "valid for 0 days more"),
    ],
)
def test_the_days_are_counted_both_ways(
    pg_major: int, begins_days: float, ends_days: float, words: str
) -> None:
    validity = Validity(not_before=NOW + begins_days * DAY, not_after=NOW + ends_days * DAY)

    assert words in validity.in_words(NOW)


async def test_greetings_leave_nothing_in_the_log_of_a_server_with_tls(
    make_server: MakeServer, authority: Authority
) -> None:
    server = make_server()
    serve_tls(server, *authority.issue("localhost", begins=NOW - DAY, ends=NOW + DAY))
    dsn = server.dsn("app", sslmode="require")
    assert await state_with_tls(dsn) is ReachState.UP
    before = server.log_text()

    assert await greet(dsn, 5)
    assert await gone(dsn, deadline_s=5) is None
    await asyncio.sleep(0.2)
    assert server.log_text() == before
