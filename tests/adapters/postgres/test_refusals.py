"""A server's refusal is read by its code, and by its words in any language only for 57P03."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.adapters.postgres import protocol
from stanch.adapters.postgres.protocol import NotPostgres, ServerError
from stanch.adapters.postgres.refusals import in_words, is_poolers, loss_of, state_of_refusal
from stanch.adapters.postgres.scram import ScramClient, ScramFailed
from stanch.adapters.postgres.tls import certificate_validity
from stanch.model.reach import LossReason, ReachState


def refusal(sqlstate: str, message: str = "") -> ServerError:
    return ServerError(severity="FATAL", sqlstate=sqlstate, message=message)


@pytest.mark.parametrize(
    ("sqlstate", "message", "state"),
    [
        ("28P01", "", ReachState.AUTH_FAILED),
        ("28000", "", ReachState.AUTH_FAILED),
        ("42501", 'permission denied for database "x"', ReachState.AUTH_FAILED),
        ("3D000", "", ReachState.NO_SUCH_DATABASE),
        ("53300", "", ReachState.TOO_MANY_CLIENTS),
        ("57P01", "", ReachState.SHUTTING_DOWN),
        ("57P02", "", ReachState.STARTING_UP),
        ("57P03", "the database system is starting up", ReachState.STARTING_UP),
        ("57P03", "the database system is in recovery mode", ReachState.STARTING_UP),
        ("57P03", "the database system is not yet accepting connections", ReachState.STARTING_UP),
        ("57P03", "the database system is shutting down", ReachState.SHUTTING_DOWN),
        ("57P03", "das Datenbanksystem fährt herunter", ReachState.SHUTTING_DOWN),
        ("57P03", "das Datenbanksystem startet", ReachState.STARTING_UP),
        ("57P03", "データベースシステムはシャットダウンしています", ReachState.SHUTTING_DOWN),
        ("57P03", "データベースシステムは起動処理中です", ReachState.STARTING_UP),
        ("57P03", "система баз данных останавливается", ReachState.SHUTTING_DOWN),
        ("57P03", "le système de base de données s'arrête", ReachState.SHUTTING_DOWN),
        ("08P01", "no more connections allowed (max_client_conn)", ReachState.TOO_MANY_CLIENTS),
        ("08P01", "no such database: x", ReachState.NO_SUCH_DATABASE),
        ("08P01", "server login has been failing", ReachState.TURNED_AWAY),
        ("08P01", "unsupported startup parameter: options", ReachState.TURNED_AWAY),
        ("XX000", "something else", ReachState.TURNED_AWAY),
        ("53300", 'too many connections for role "app"', ReachState.CONNECTION_LIMIT),
        ("53300", 'too many connections for database "app"', ReachState.CONNECTION_LIMIT),
        ("53300", "sorry, too many clients already", ReachState.TOO_MANY_CLIENTS),
        (
            "53300",
            'remaining connection slots are reserved for roles with privileges of the "x" role',
            ReachState.TOO_MANY_CLIENTS,
        ),
        ("", "", ReachState.REFUSED),
    ],
)
def test_each_refusal_has_its_state(sqlstate: str, message: str, state: ReachState) -> None:
    assert state_of_refusal(refusal(sqlstate, message)) is state


@pytest.mark.parametrize(
    ("routine", "state"),
    [
        ("InitializeSessionUserId", ReachState.CONNECTION_LIMIT),
        ("CheckMyDatabase", ReachState.CONNECTION_LIMIT),
        ("InitProcess", ReachState.TOO_MANY_CLIENTS),
    ],
)
def test_whose_limit_it_is_can_be_told_in_every_language(routine: str, state: ReachState) -> None:
    told = ServerError(
        severity="FATAL", sqlstate="53300", message="zu viele Verbindungen", routine=routine
    )
    assert state_of_refusal(told) is state


@pytest.mark.parametrize(
    ("sqlstate", "message", "is_so"),
    [
        ("08P01", "unsupported startup parameter: options", True),
        ("08P01", "no such database: x", True),
        ("08P01", "invalid startup packet layout", False),
        ("57P03", "the database system is shutting down", False),
    ],
)
def test_a_poolers_words_are_known_from_a_servers(sqlstate: str, message: str, is_so: bool) -> None:
    assert is_poolers(refusal(sqlstate, message)) is is_so


@pytest.mark.parametrize(
    ("sqlstate", "message", "reason"),
    [
        ("57P01", "terminating connection due to administrator command", "admin_shutdown"),
        ("57P01", "terminating connection due to unexpected postmaster exit", "postmaster_died"),
        (
            "57P01",
            "Verbindung wird abgebrochen wegen unerwartetem Ende des Postmasters",
            "postmaster_died",
        ),
        ("57P01", "закрытие подключения по команде администратора", "admin_shutdown"),
        ("57P02", "", "crash_shutdown"),
        ("57P04", "", "database_dropped"),
        ("57P05", "", "idle_timeout"),
        ("25P03", "", "idle_timeout"),
        ("XX000", "unexpected postmaster", "closed"),
    ],
)
def test_the_last_words_say_how_a_session_ended(sqlstate: str, message: str, reason: str) -> None:
    assert loss_of(refusal(sqlstate, message)) is LossReason(reason)


def test_a_session_that_ended_without_a_word_was_closed() -> None:
    assert loss_of(None) is LossReason.CLOSED


@given(st.text())
def test_whatever_a_server_says_is_shown_on_one_printable_line(message: str) -> None:
    shown = in_words(refusal("XX000", message))

    assert shown.isprintable()


@given(st.binary(max_size=200))
def test_no_bytes_make_the_readers_fail_in_an_unforeseen_way(data: bytes) -> None:
    protocol.read_error(data)
    certificate_validity(data)
    for read in (protocol.read_row, protocol.read_parameter, protocol.read_auth):
        with suppress(NotPostgres):
            read(data)
    with suppress(NotPostgres):
        protocol.read_header(data[:5].ljust(5, b"\0"))


@given(st.binary(max_size=200))
def test_no_challenge_makes_scram_fail_in_an_unforeseen_way(challenge: bytes) -> None:
    client = ScramClient("secret", "nonce")
    with suppress(ScramFailed):
        client.final(challenge)


@pytest.mark.parametrize(
    "challenge",
    [
        b"r=other,s=c2FsdA==,i=4096",
        b"r=nonce,s=c2FsdA==,i=4096",
        b"r=nonceX,s=c2FsdA==,i=99999999",
        b"r=nonceX,s=c2FsdA==,i=0",
        b"r=nonceX,s=***,i=4096",
    ],
)
def test_a_dishonest_challenge_is_refused(challenge: bytes) -> None:
    with pytest.raises(ScramFailed):
        ScramClient("secret", "nonce").final(challenge)


def test_the_published_example_gives_the_published_proof() -> None:
    client = ScramClient("pencil", "rOprNGfwEbeRWgbNEkqO")
    challenge = (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    final = client.final(challenge)
    # RFC 7677 has n=user, PostgreSQL's clients leave the name empty: only the shape is the same.
    assert final.startswith(b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=")
    with pytest.raises(ScramFailed):
        client.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
