"""The keys of `signals` in stanch.yaml; a part of the table in `keys.py`."""

from __future__ import annotations

from stanch.policy.kinds import HOST, HOST_PORT, NAME, Choice, Integer, Path, Text
from stanch.policy.quantities import Duration
from stanch.policy.shapes import Key, ListOf, MapOf, Named, Section
from stanch.policy.signals import (
    FIELDS,
    FORMATS,
    ExpectedHeartbeat,
    SignalMailbox,
    SignalRoute,
    Signals,
    SignalSource,
)

LABEL_MATCH = Text(
    word="label", pattern=r"[^=\s]{1,64}=[^\x00-\x1f\x7f]{1,200}", like="instance=db1.example.com:*"
)
SENDER = Text(
    word="sender",
    pattern=r"[^\s@,;<>]*@[A-Za-z0-9.-]{1,255}",
    like="ops@example.com or @example.com",
)
HEADER_NAME = Text(word="header name", pattern=r"[A-Za-z0-9-]{1,64}", like="X-Signature")
JSON_PATH = Text(word="path", like="data.issue.id")
UNMATCHED = Choice(values=("page", "list"))
RANK = Integer(low=1, high=4)

_TARGET = Key(
    name="target",
    field="target",
    holds=NAME,
    doc="What it is about where neither a route nor a label says so.",
    example="orders",
)
_UNMATCHED = Key(
    name="unmatched",
    field="unmatched",
    holds=UNMATCHED,
    doc="What to do with alerts that match no target: page for them, all in one incident, or only "
    "list them in `stanch signals`.",
)

SOURCE = Section(
    title="signal source",
    make=SignalSource,
    keys=(
        Key(
            name="format",
            field="format",
            holds=Choice(values=FORMATS),
            doc="Whose form the payloads have; json is any shape, read by `fields`; stanch is the "
            "form of docs/signals.md; deploy tells of new versions, which are no alerts.",
            example="alertmanager",
        ),
        Key(
            name="token_file",
            field="token_file",
            holds=Path(),
            doc="A file with the token that comes as `Authorization: Bearer`. A source needs a "
            "token, a login or a secret.",
            example="/etc/stanch/alerts-token",
        ),
        Key(
            name="username",
            field="username",
            holds=Text(may_be_empty=True),
            doc="For basic authentication, with `password_file`.",
            example="alertmanager",
        ),
        Key(
            name="password_file",
            field="password_file",
            holds=Path(),
            doc="A file with the password of `username` on its first line.",
            example="/etc/stanch/alerts-password",
        ),
        Key(
            name="secret_file",
            field="secret_file",
            holds=Path(),
            doc="A file with the secret that payloads are signed with.",
            example="/etc/stanch/pagerduty-secret",
        ),
        Key(
            name="signature_header",
            field="signature_header",
            holds=HEADER_NAME,
            doc="The header with the signature, HMAC-SHA256 of the body in hex. Left out: the one "
            "that the format's own program uses.",
            example="Sentry-Hook-Signature",
        ),
        _TARGET,
        Key(
            name="severity",
            field="severity",
            holds=RANK,
            doc="Rank of an alert whose own severity is missing or unknown.",
        ),
        _UNMATCHED,
        Key(
            name="resolve_after",
            field="resolve_after_s",
            holds=Duration(max_s=2_592_000),
            doc="An alert that was not repeated for so long is over, for sources that never say "
            "so. 0: only the source says when.",
        ),
        Key(
            name="fields",
            field="fields",
            holds=MapOf(names=FIELDS, value=JSON_PATH, noun="field"),
            doc="With `format: json`, where each field is found: names with dots between them, "
            "alternatives with `|`.",
            example="{key: data.issue.id, title: data.issue.title, status: action}",
        ),
        Key(
            name="resolved",
            field="resolved",
            holds=ListOf(item=Text(), noun="word"),
            doc="With `format: json`, the values of `status` that mean that it is over.",
        ),
    ),
)

ROUTE = Section(
    title="signal route",
    make=SignalRoute,
    keys=(
        Key(
            name="target",
            field="target",
            holds=NAME,
            doc="The target these alerts are about.",
            example="orders",
        ),
        Key(
            name="labels",
            field="labels",
            holds=ListOf(item=LABEL_MATCH, noun="label"),
            doc="Labels as `name=value` that an alert must all have; `*` stands for any text.",
            example='["instance=db1.example.com:*"]',
        ),
        Key(
            name="source",
            field="source",
            holds=NAME,
            doc="Only alerts of this source. Left out: of any.",
            example="prometheus",
        ),
    ),
)

EXPECTED_HEARTBEAT = Section(
    title="expected heartbeat",
    make=ExpectedHeartbeat,
    keys=(
        Key(
            name="every",
            field="every_s",
            holds=Duration(min_s=1, max_s=31_622_400),
            doc="It must be heard at least so often; longer silence is an alert.",
            example="25h",
        ),
        Key(
            name="token_file",
            field="token_file",
            holds=Path(),
            doc="A file with the token it comes with.",
            example="/etc/stanch/nightly-dump-token",
        ),
        Key(
            name="target",
            field="target",
            holds=NAME,
            doc="What its silence is about. Left out: no target.",
            example="orders",
        ),
        Key(name="severity", field="severity", holds=RANK, doc="Rank of its silence."),
    ),
)

MAILBOX = Section(
    title="mailbox",
    make=SignalMailbox,
    keys=(
        Key(
            name="host",
            field="host",
            holds=HOST,
            doc="The IMAP server.",
            example="imap.example.com",
        ),
        Key(name="port", field="port", holds=Integer(low=1, high=65535), doc="Its port."),
        Key(
            name="tls",
            field="tls",
            holds=Choice(values=("tls", "starttls", "none")),
            doc="How the connection is encrypted: from the start, upgraded by STARTTLS, or not.",
        ),
        Key(
            name="username",
            field="username",
            holds=Text(),
            doc="The login.",
            example="alarm",
        ),
        Key(
            name="password_file",
            field="password_file",
            holds=Path(),
            doc="A file with the password on its first line, readable by Stanch only.",
            example="/etc/stanch/imap-password",
        ),
        Key(name="folder", field="folder", holds=Text(), doc="The folder that is read."),
        Key(
            name="senders",
            field="senders",
            holds=ListOf(item=SENDER, noun="sender"),
            doc="Who may report: addresses, or @example.com for everybody there.",
            example='["@example.com"]',
        ),
        _TARGET,
        _UNMATCHED,
    ),
)

SIGNALS = Section(
    title="signals",
    make=Signals,
    keys=(
        Key(
            name="listen",
            field="listen",
            holds=HOST_PORT,
            doc="An address of its own for `/signals`. Left out: the one of health and metrics.",
            example="127.0.0.1:8433",
        ),
        Key(
            name="sources",
            field="sources",
            holds=Named(entry=SOURCE, name=NAME, field="name", noun="signal source"),
            doc="Who may post to `/signals/NAME`, by name.",
            example="{prometheus: {format: alertmanager, token_file: /etc/stanch/alerts-token}}",
        ),
        Key(
            name="routes",
            field="routes",
            holds=ListOf(item=ROUTE, noun="route"),
            doc="Which target an alert is about, by its labels; the first that fits counts. Before "
            "them counts a label `target` with a target's name; after them a label with the host "
            "of a target's dsn.",
            example='[{target: orders, labels: ["instance=db1.example.com:*"]}]',
        ),
        Key(
            name="heartbeats",
            field="heartbeats",
            holds=Named(entry=EXPECTED_HEARTBEAT, name=NAME, field="name", noun="heartbeat"),
            doc="Jobs that have to be heard of at `/signals/heartbeat/NAME`.",
            example="{nightly-dump: {every: 25h, token_file: /etc/stanch/nightly-dump-token}}",
        ),
        Key(
            name="mailbox",
            field="mailbox",
            holds=MAILBOX,
            doc="A mailbox whose mails with a severity in the subject are reports.",
            example="{host: imap.example.com, username: alarm, password_file: "
            '/etc/stanch/imap-password, senders: ["@example.com"]}',
        ),
    ),
)
