"""Whether the server that a promoted standby followed still answers where it was."""

from __future__ import annotations

from dataclasses import replace

from psycopg.conninfo import make_conninfo

from stanch.adapters.hosts.here import is_this_machine
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.greeting import gone
from stanch.diagnose.clues.promotion import promotion_line
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.figures import Figures
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed, SetupError
from stanch.model.readings import Reading

WITHIN_S = 0.5


async def with_followed(evidence: Evidence, dsn: str) -> Evidence:
    """The same with whether the old primary answers, where this server was promoted lately.

    For a stranger, who knows no other server of the cluster. Nobody logs in there: a connection
    that never names a user is greeted or not.
    Cost: where there was a promotion, one TCP connection, for half a second at most.
    """
    read = evidence.figures
    if isinstance(read, Missing):
        return evidence
    figures = read.value
    followed = next(iter(figures.named("followed")), None)
    if followed is None or followed.value is None or promotion_line(evidence) is None:
        return evidence
    host, port = followed.subject, int(followed.value)
    if _is_local(host) and not _is_local(resolve(dsn).hostaddr or resolve(dsn).host):
        # Its own machine is meant, which this one is not.
        return evidence
    answers = await _answers(host, port)
    told = Reading(name="followed_answers", value=float(answers), subject=f"{host}:{port}")
    known = Figures(items=(*figures.items, told))
    return replace(evidence, figures=replace(read, value=known))


async def _answers(host: str, port: int) -> bool:
    where = make_conninfo("", host=host, port=port, user="stanch", sslmode="disable")
    try:
        return await gone(where, deadline_s=WITHIN_S) is None
    except (SetupError, ProbeFailed):
        return False


def _is_local(host: str) -> bool:
    """This machine, or a socket on it; names are not looked up."""
    return host == "localhost" or bool(is_this_machine(host))
