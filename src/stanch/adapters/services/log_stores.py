"""Counts of errors from stores of log lines: Loki, Elasticsearch, OpenSearch, Better Stack."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

from stanch.adapters.services.asking import Asker, Question
from stanch.facts.log_counts import (
    Span,
    better_stack_sql,
    elastic_body,
    loki_parameters,
    parse_better_stack,
    parse_elastic,
    parse_loki,
)
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.policy.log_stores import ElasticErrors, LogErrorSource, LokiErrors
from stanch.watch.signs.log_errors import LogErrors

DEADLINE_S = 10.0


class LogStore:
    """A `SignSource`: one question a look, which the store answers with one number.

    Never: a line of a log, whose text would have to be kept and shown.
    """

    def __init__(
        self, logs: LogErrorSource, *, now: Callable[[], datetime], deadline_s: float = DEADLINE_S
    ) -> None:
        self._logs = logs
        self._now = now
        self._asker = Asker(logs, deadline_s=deadline_s)
        self._made = LogErrors(logs.name)

    async def look(self) -> tuple[Reading, ...]:
        span = self._made.due(self._now())
        if span is None:
            return self._made.none(Missing(what="count", reason="no time has passed"))
        answer = await self._asker.ask_one(question(self._logs, span))
        count = answer if isinstance(answer, Missing) else _count(self._logs, answer)
        if isinstance(count, Missing):
            return self._made.none(count)
        return self._made.counted(span, count)

    async def close(self) -> None:
        """Nothing is kept open."""


def question(logs: LogErrorSource, span: Span) -> Question:
    """As each store documents it."""
    url = logs.url.rstrip("/")
    if isinstance(logs, LokiErrors):
        return Question(
            url=f"{url}/loki/api/v1/query",
            parameters=loki_parameters(logs, span),
            headers={"X-Scope-OrgID": logs.tenant} if logs.tenant else {},
        )
    if isinstance(logs, ElasticErrors):
        # Without this an index that does not exist counts as one without lines.
        must_exist = {"allow_no_indices": "false", "ignore_unavailable": "false"}
        return Question(
            url=f"{url}/{quote(logs.index, safe='*,:-')}/_count",
            method="POST",
            parameters=must_exist,
            body=elastic_body(logs, span),
            content_type="application/json",
        )
    return Question(
        url=logs.url, method="POST", body=better_stack_sql(logs, span), content_type="plain/text"
    )


def _count(logs: LogErrorSource, answer: bytes) -> float | Missing:
    if isinstance(logs, LokiErrors):
        return parse_loki(answer)
    return parse_elastic(answer) if isinstance(logs, ElasticErrors) else parse_better_stack(answer)
