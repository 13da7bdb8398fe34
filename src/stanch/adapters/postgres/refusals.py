"""What a server's refusal means: by its SQLSTATE, by its words only where it must be. Pure."""

from __future__ import annotations

from stanch.adapters.postgres.protocol import ServerError
from stanch.model.reach import LossReason, ReachState
from stanch.policy.quoting import printable

_TEXT_CHARS_MAX = 300

_BY_SQLSTATE = {
    "3D000": ReachState.NO_SUCH_DATABASE,
    "42501": ReachState.AUTH_FAILED,  # no CONNECT privilege
    "53300": ReachState.TOO_MANY_CLIENTS,
    "55000": ReachState.NO_SUCH_DATABASE,  # datallowconn is false
    "57014": ReachState.HUNG,  # statement_timeout on a question that takes no time
    "57P01": ReachState.SHUTTING_DOWN,
    "57P02": ReachState.STARTING_UP,  # another process crashed; recovery follows at once
    "57P04": ReachState.NO_SUCH_DATABASE,
}

# 53300 also covers the limits of one role and one database, which say nothing about the server.
# Its words come in the server's language; the routine that raised it does not.
_OWN_LIMIT_ROUTINES = ("InitializeSessionUserId", "CheckMyDatabase")
_OWN_LIMIT_WORDS = "too many connections for "

# 57P03 covers starting, recovering, "not yet accepting connections" and shutting down, and only
# the words tell them apart. They come in the server's lc_messages; these are its catalogues.
_SHUTTING_DOWN = (
    "is shutting down",
    "fährt herunter",
    "está apagándose",
    "s'arrête",
    "si sta spegnendo",
    "シャットダウン",
    "ითიშება",
    "중지 중",
    "останавливается",
    "stänger ner",
    "завершує роботу",
    "停止中",
    "关闭",
    "desligando",
)

# 57P01 has two messages, and most catalogues leave this word as it is in one of them.
_POSTMASTER = ("postmaster", "главного процесса", "головного процесу")

# PgBouncer says 08P01 for nearly everything, always in English.
_BY_POOLER_WORDS = (
    ("no more connections allowed", ReachState.TOO_MANY_CLIENTS),
    ("query_wait_timeout", ReachState.TOO_MANY_CLIENTS),
    ("no such database", ReachState.NO_SUCH_DATABASE),
    ("no such user", ReachState.AUTH_FAILED),
    ("not allowed", ReachState.AUTH_FAILED),
    ("authentication failed", ReachState.AUTH_FAILED),
    ("shutting down", ReachState.SHUTTING_DOWN),
    ("unsupported startup parameter", ReachState.TURNED_AWAY),
    ("bouncer config error", ReachState.TURNED_AWAY),
)

_LOSS_BY_SQLSTATE = {
    "57P01": LossReason.ADMIN_SHUTDOWN,
    "57P02": LossReason.CRASH_SHUTDOWN,
    "57P04": LossReason.DATABASE_DROPPED,
    "57P05": LossReason.IDLE_TIMEOUT,
    "25P03": LossReason.IDLE_TIMEOUT,
}


def state_of_refusal(error: ServerError) -> ReachState:
    """Which state a server is in that refuses a session or the probe's question with this.

    A code that nothing here knows is the word of somebody who is there, and no sign of a server
    that is down. Without any code it is the postmaster, which cannot even start a process.
    """
    if error.sqlstate == "57P03":
        leaving = any(words in error.message for words in _SHUTTING_DOWN)
        return ReachState.SHUTTING_DOWN if leaving else ReachState.STARTING_UP
    if error.sqlstate == "53300" and _own_limit(error):
        return ReachState.CONNECTION_LIMIT
    if error.sqlstate.startswith("28"):
        return ReachState.AUTH_FAILED
    if error.sqlstate in _BY_SQLSTATE:
        return _BY_SQLSTATE[error.sqlstate]
    if error.sqlstate == "08P01":
        for words, state in _BY_POOLER_WORDS:
            if words in error.message:
                return state
    return ReachState.TURNED_AWAY if error.sqlstate else ReachState.REFUSED


def is_poolers(error: ServerError) -> bool:
    """Words that only a pooler says, never a server."""
    words = (words for words, _ in _BY_POOLER_WORDS)
    return error.sqlstate == "08P01" and any(known in error.message for known in words)


def _own_limit(error: ServerError) -> bool:
    return error.routine in _OWN_LIMIT_ROUTINES or _OWN_LIMIT_WORDS in error.message


def in_words(error: ServerError) -> str:
    """`FATAL 53300: sorry, too many clients already`, fit to be shown."""
    text = f"{error.severity} {error.sqlstate}: {error.message}"
    if error.detail:
        text += f" ({error.detail})"
    return shown(text)


def shown(text: str) -> str:
    """Text from the other side on one line, escaped, and cut where it is too long to read."""
    cut = text if len(text) <= _TEXT_CHARS_MAX else text[: _TEXT_CHARS_MAX - 1] + "…"
    return printable(cut)


def loss_of(last_words: ServerError | None) -> LossReason:
    """How an open session ended, from the last thing the server said on it."""
    if last_words is None:
        return LossReason.CLOSED
    if last_words.sqlstate == "57P01":
        words = last_words.message.lower()
        if any(part in words for part in _POSTMASTER):
            return LossReason.POSTMASTER_DIED
    return _LOSS_BY_SQLSTATE.get(last_words.sqlstate, LossReason.CLOSED)
