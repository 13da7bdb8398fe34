"""By which labels a target's metrics are known in Prometheus, as a value and as keys."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.policy.kinds import Text
from stanch.policy.shapes import Key, ListOf, Section

_LABEL = Text(word="value of a label", pattern=r'[^\x00-\x20\x7f"\\]+', like="db1.example.com:*")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricLabels:
    """Values of labels; `*` in one stands for any text. Without any, no metric is known as its."""

    instance: tuple[str, ...] = ()
    datname: tuple[str, ...] = ()
    """Only for what is counted a database. Empty: all of them."""


METRIC_LABELS = Section(
    title="labels of metrics",
    make=MetricLabels,
    keys=(
        Key(
            name="instance",
            field="instance",
            holds=ListOf(item=_LABEL, noun="value"),
            doc="`instance` of its exporters, of its machine's, its pooler's and the prober's.",
            example='["db1.example.com:*", "bouncer1.example.com:9127"]',
        ),
        Key(
            name="datname",
            field="datname",
            holds=ListOf(item=_LABEL, noun="value"),
            doc="`datname` of what is counted a database. Left out: every database.",
            example='["orders*"]',
        ),
    ),
)
