"""stanch.yaml is read strictly, and every mistake is named with its line."""

from __future__ import annotations

import textwrap

import pytest

from stanch.model.errors import PolicyInvalid
from stanch.model.findings import Finding
from stanch.model.plans import Mode
from stanch.model.symptoms import SymptomKind
from stanch.policy.canonical import canonical_text
from stanch.policy.parse import parse_policy, policy_hash, read_policy
from stanch.policy.policy import (
    DEFAULT_SEVERITIES,
    DEFAULT_SEVERITY_OF,
    Limits,
    SmtpChannel,
    TargetPolicy,
    TerminalChannel,
    WebhookChannel,
)

SMALL = """\
state_directory: /var/lib/stanch
people:
  asha:
    name: Asha Example
    contacts:
      - {channel: mail, address: asha@example.com}
ladder: [asha]
channels:
  mail: {type: smtp, host: localhost}
targets:
  orders:
    dsn: service=orders
"""

FULL = """\
state_directory: /var/lib/stanch
people:
  asha:
    name: Asha Example
    contacts:
      - {channel: mail, address: asha@example.com}
  ben: {name: Ben Example}
ladder: [asha, ben]
channels:
  mail:
    type: smtp
    host: mail.example.com
    port: 587
    sender: stanch@example.com
    tls: starttls
    username: stanch
    password_file: /etc/stanch/smtp-password
    timeout: 2500ms
  hook: {type: webhook, url: https://hooks.example.com/s, secret_file: /etc/stanch/s, timeout: 3s}
  console: {type: terminal}
targets:
  orders:
    dsn: service=orders
    acting_dsn: service=orders_act
    app_dsn: postgresql://app@db.example.com/orders
    host: local
    data_directory: /srv/pg
    log: /srv/log
    bin_directory: /usr/lib/postgresql/16/bin
    manager: pg_ctl
    desired: running
    page_after: 30s
    sample_every: 500ms
    severity_of: {disk_low: 3}
    actions: {start_server: act, end_idle_sessions: advise, free_space: act}
    limits: {clear_hold: 10s, flap_window: 1h}
    tier: oltp
    rules:
      connections_high: {limit: 70%, clear: 60%, hold: 0, severity: 3}
      sessions_blocked: {limit: 5, also: 1m}
      disk_full: {limit: 1GB}
      certificate_expiring: {limit: 3d}
      health_check_slow: {off: true}
      server_down: {severity: 2}
    free_space: {ballast: [/srv/pg-ballast], old_logs_days: 14}
    rescue: {window: 2m, check_every: 1s, resolve_after: 2h}
    protected_applications: [payroll]
    idle_session_age_min: 10m
    approve_within: 1d
rules: {connections_exhausted: {limit: 95.5%}, disk_low: {limit: 15%}}
tiers: {oltp: {rules: {disk_low: {hold: 1m}, slow_query: {limit: 500ms}}}}
severities:
  1: {label: SEV-1, name: down, ack_within: 2m}
  2: {label: SEV-2, name: bad, ack_within: 10m}
  3: {label: SEV-3, name: odd, ack_within: 1h, pages: no}
  4: {label: SEV-4, name: note, ack_within: 2d, pages: false}
heartbeat: {url: https://heartbeat.example.com/x, every: 15s}
listen: 127.0.0.1:9000
control_endpoint: 192.0.2.1:53
runbook_directory: /etc/stanch/runbooks
"""


def findings(text: str) -> tuple[Finding, ...]:
    return read_policy(text, file="stanch.yaml").findings


def with_line(after: str, *lines: str) -> str:
    """SMALL with lines put in after the one that starts (stripped) with `after`."""
    out: list[str] = []
    for line in SMALL.splitlines():
        out.append(line)
        if line.strip().startswith(after):
            out += lines
    return "\n".join(out) + "\n"


def replaced(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new)


def test_the_smallest_file_keeps_every_default() -> None:
    policy = parse_policy(SMALL, file="stanch.yaml")
    [target] = policy.targets
    assert target == TargetPolicy(name=target.name, dsn="service=orders")
    assert policy.severities == DEFAULT_SEVERITIES
    assert policy.channels == (SmtpChannel(name=policy.channels[0].name, host="localhost"),)
    assert (policy.heartbeat, policy.listen) == (None, "127.0.0.1:8432")
    assert findings(SMALL) == ()


def test_every_key_reaches_its_field_in_base_units() -> None:
    policy = parse_policy(FULL, file="stanch.yaml")
    mail, hook, console = policy.channels
    assert isinstance(mail, SmtpChannel)
    assert (mail.port, mail.tls, mail.timeout_s) == (587, "starttls", 2.5)
    assert isinstance(hook, WebhookChannel)
    assert (hook.secret_file, hook.timeout_s) == ("/etc/stanch/s", 3.0)
    assert isinstance(console, TerminalChannel)
    [target] = policy.targets
    assert target.limits == Limits(clear_hold_s=10.0, flap_window_s=3600.0)
    assert target.tier == "oltp"
    high = target.settings(SymptomKind.CONNECTIONS_HIGH)
    assert (high.limit, high.clear, high.hold_s, high.severity) == (70.0, 60.0, 0.0, 3)
    blocked = target.settings(SymptomKind.SESSIONS_BLOCKED)
    assert (blocked.limit, blocked.also) == (5.0, 60.0)
    assert target.limit(SymptomKind.DISK_FULL) == 10**9
    assert target.limit(SymptomKind.CERTIFICATE_EXPIRING) == 3.0
    assert target.settings(SymptomKind.HEALTH_CHECK_SLOW).off
    low = target.settings(SymptomKind.DISK_LOW)
    assert (low.limit, low.hold_s) == (15.0, 60.0), "the tier adds to what the policy says"
    assert target.limit(SymptomKind.CONNECTIONS_EXHAUSTED) == 95.5
    assert target.limit(SymptomKind.SLOW_QUERY) == 0.5
    assert (target.rank(SymptomKind.DISK_LOW), target.rank(SymptomKind.SERVER_DOWN)) == (3, 2)
    assert target.rank(SymptomKind.DISK_FULL) == DEFAULT_SEVERITY_OF["disk_full"]
    assert target.mode("start_server") is Mode.ACT
    assert target.mode("end_idle_sessions") is Mode.ADVISE
    assert target.mode("end_blocking_session") is Mode.OBSERVE
    assert target.severity_of == {"disk_low": 3}
    assert target.free_space.ballast == ("/srv/pg-ballast",)
    assert target.free_space.old_logs_days == 14
    assert (target.rescue.window_s, target.rescue.resolve_after_s) == (120.0, 7200.0)
    assert (target.page_after_s, target.sample_every_s) == (30.0, 0.5)
    assert (target.idle_session_age_s_min, target.approve_within_s) == (600.0, 86400.0)
    assert (target.host, target.manager, target.desired) == ("local", "pg_ctl", "running")
    assert policy.severity(3).pages is False
    assert policy.severity(1).ack_within_s == 120.0
    assert policy.heartbeat is not None
    assert policy.heartbeat.every_s == 15.0
    assert policy.control_endpoint == "192.0.2.1:53"
    assert policy.runbook_directory == "/etc/stanch/runbooks"


@pytest.mark.parametrize(
    ("text", "line", "path", "what", "hint"),
    [
        # --- keys
        (
            with_line("dsn:", "    page_aftr: 30s"),
            13,
            "targets.orders.page_aftr",
            'unknown key "page_aftr"',
            "`page_after`",
        ),
        (
            with_line("dsn:", "    page_after_s: 30s"),
            13,
            "targets.orders.page_after_s",
            "unknown key",
            "`page_after`",
        ),
        (SMALL + "qqqq: 1\n", 13, "qqqq", "unknown key", "Known here: state_directory"),
        (
            with_line("mail:", "  console: {type: terminal, colour: red}"),
            10,
            "channels.console.colour",
            "unknown key",
            "Nothing more is set here.",
        ),
        (
            SMALL + "ladder: [asha]\n",
            13,
            "ladder",
            '"ladder" is given twice',
            "first given on line 7",
        ),
        (
            with_line("dsn:", "  orders: {dsn: service=b}"),
            13,
            "targets.orders",
            '"orders" is given twice',
            "line 11",
        ),
        (SMALL + "? [a]\n: b\n", 13, "?", "a key is a list", "plain words"),
        (
            SMALL + "listen:\n",
            13,
            "listen",
            "has no value",
            "remove the line",
        ),
        (SMALL.split("\n", 1)[1], 1, "", "state_directory is missing", "Add"),
        (
            replaced("    dsn: service=orders", "    host: none"),
            11,
            "targets.orders",
            "dsn is missing",
            "How Stanch watches",
        ),
        # --- shapes
        (
            replaced("ladder: [asha]", "ladder: asha"),
            7,
            "ladder",
            "is a single value, not a list",
            "[one person id, another]",
        ),
        (
            replaced("ladder: [asha]", "ladder: {asha: 1}"),
            7,
            "ladder",
            "is a mapping, not a list",
            "after a dash",
        ),
        (
            replaced("dsn: service=orders", "dsn: [service=orders]"),
            12,
            "targets.orders.dsn",
            "is a list, not a connection string",
            "one value",
        ),
        (
            with_line("dsn:", "    limits: 5"),
            13,
            "targets.orders.limits",
            "is a single value, not a limits",
            "key: value",
        ),
        (
            with_line("dsn:", "    rescue: !!python/name:os.system {window: 1s}"),
            13,
            "targets.orders.rescue",
            "has the tag",
            "without tags",
        ),
        # --- durations, sizes, percentages, numbers, choices
        (
            with_line("dsn:", "    page_after: 30"),
            13,
            "targets.orders.page_after",
            '"30" has no unit',
            "30s",
        ),
        (
            with_line("dsn:", "    page_after: 30 parsecs"),
            13,
            "targets.orders.page_after",
            "is not a duration",
            "ms, s, m, h, d",
        ),
        (
            with_line("dsn:", "    page_after: 32MiB"),
            13,
            "targets.orders.page_after",
            "is not a duration",
            "30s",
        ),
        (
            with_line("dsn:", "    page_after: -5s"),
            13,
            "targets.orders.page_after",
            "is not a duration",
            "30s",
        ),
        (
            with_line("dsn:", "    page_after: 2d"),
            13,
            "targets.orders.page_after",
            "2d is out of range",
            "Between 0s and 1d",
        ),
        (
            with_line("dsn:", "    sample_every: 0.5ms"),
            13,
            "targets.orders.sample_every",
            "finer than a millisecond",
            "1ms",
        ),
        (
            with_line("dsn:", "    rules: {disk_full: {limit: 32}}"),
            13,
            "targets.orders.rules.disk_full.limit",
            "has no unit",
            "32MiB",
        ),
        (
            with_line("dsn:", "    rules: {disk_full: {limit: 32 furlongs}}"),
            13,
            "targets.orders.rules.disk_full.limit",
            "is not a size",
            "32MiB",
        ),
        (
            with_line("dsn:", "    rules: {connections_high: {limit: 80}}"),
            13,
            "targets.orders.rules.connections_high.limit",
            "has no unit",
            "80%",
        ),
        (
            with_line("dsn:", "    rules: {connections_high: {limit: 180%}}"),
            13,
            "targets.orders.rules.connections_high.limit",
            "out of range",
            "Between 0% and 100%",
        ),
        (
            with_line("dsn:", "    rules: {sessions_blocked: {limit: few}}"),
            13,
            "targets.orders.rules.sessions_blocked.limit",
            "is not a number",
            "without unit",
        ),
        (
            replaced("{type: smtp, host: localhost}", "{type: smtp, host: localhost, port: 70000}"),
            9,
            "channels.mail.port",
            "70000 is out of range",
            "Between 1 and 65535",
        ),
        (
            with_line("dsn:", "    host: mars"),
            13,
            "targets.orders.host",
            '"mars" is not a known value',
            "auto, local, none",
        ),
        (
            replaced("name: Asha Example", "name: 12"),
            4,
            "people.asha.name",
            '"12" is not text',
            "double quotes",
        ),
        (
            with_line("dsn:", "    protected_applications: ['']"),
            13,
            "targets.orders.protected_applications.1",
            "is empty",
            "leave the key out",
        ),
        # --- names, addresses, paths, connection strings
        (
            with_line("dsn:", '  "or ders": {dsn: service=b}'),
            13,
            "targets.or ders",
            "is not a name",
            "orders-db",
        ),
        (
            replaced("address: asha@example.com", "address: asha"),
            6,
            "people.asha.contacts.1.address",
            "is not a mail address",
            "oncall@example.com",
        ),
        (
            replaced("asha@example.com}", '"a@example.com\\r\\nBcc: b@example.com"}'),
            6,
            "people.asha.contacts.1.address",
            r"\r\nBcc",
            "oncall@example.com",
        ),
        (
            replaced("/var/lib/stanch", "state"),
            1,
            "state_directory",
            "is not an absolute path",
            "Start it with /",
        ),
        (
            replaced("dsn: service=orders", "dsn: orders on db1"),
            12,
            "targets.orders.dsn",
            "is not a connection string",
            "service=orders",
        ),
        (
            replaced("dsn: service=orders", "dsn: host=a,b dbname=x"),
            12,
            "targets.orders.dsn",
            "names 2 hosts",
            "one target for each",
        ),
        (
            replaced("dsn: service=orders", "dsn: postgresql://a:1,b:2,c/x"),
            12,
            "targets.orders.dsn",
            "names 3 hosts",
            "one target for each",
        ),
        (SMALL + "listen: 8432\n", 13, "listen", "is not text", "double quotes"),
        (SMALL + "listen: 127.0.0.1:99999\n", 13, "listen", "port 99999", "At most 65535"),
        (
            SMALL + "control_endpoint: 192.0.2.1:70000\n",
            13,
            "control_endpoint",
            "port 70000",
            "At most 65535",
        ),
        (
            SMALL + "heartbeat: {url: ftp://x.example.com}\n",
            13,
            "heartbeat.url",
            "is not a web address",
            "https://",
        ),
        # --- secrets
        (
            with_line("dsn:", "    password: hunter2"),
            13,
            "targets.orders.password",
            "secrets do not belong in this file",
            "passfile",
        ),
        (
            with_line("dsn:", "    passwrd: hunter2"),
            13,
            "targets.orders.passwrd",
            "secrets do not belong",
            "passfile",
        ),
        (
            replaced("host: localhost}", "host: localhost, smtp_password: hunter2}"),
            9,
            "channels.mail.smtp_password",
            "secrets do not belong",
            "`password_file`",
        ),
        (
            with_line("mail:", "  hook: {type: webhook, url: http://h.example/, token: hunter2}"),
            10,
            "channels.hook.token",
            "secrets do not belong",
            "`secret_file`",
        ),
        (
            SMALL + "heartbeat: {url: https://u:hunter2@x.example.com/}\n",
            13,
            "heartbeat.url",
            "web address without a login",
            "https://",
        ),
        # --- cross-references
        (
            replaced("ladder: [asha]", "ladder: [asha, bne]"),
            7,
            "ladder.2",
            'unknown person "bne"',
            "Define them",
        ),
        (replaced("ladder: [asha]", "ladder: [ash]"), 7, "ladder.1", "unknown person", "`asha`"),
        (replaced("ladder: [asha]", "ladder: []"), 7, "ladder", "is empty", "name them"),
        (
            replaced("channel: mail,", "channel: mial,"),
            6,
            "people.asha.contacts.1.channel",
            'unknown channel "mial"',
            "`mail`",
        ),
        (
            replaced("{type: smtp, host: localhost}", "{type: terminal}"),
            6,
            "people.asha.contacts.1.channel",
            "is no mail channel",
            "remove this contact",
        ),
        (
            with_line("- {channel", "  ben: {name: Ben Example}"),
            7,
            "people.ben",
            "cannot be reached",
            "Add a contact",
        ),
        (
            replaced("{type: smtp, host: localhost}", "{host: localhost}"),
            9,
            "channels.mail",
            "type is missing",
            "smtp, webhook, terminal",
        ),
        (
            replaced("{type: smtp, host: localhost}", "{type: pigeon}"),
            9,
            "channels.mail.type",
            "unknown type of channel",
            "smtp, webhook, terminal",
        ),
        (
            replaced("host: localhost}", "host: localhost, username: u}"),
            9,
            "channels.mail.username",
            "a login without a password",
            "`password_file`",
        ),
        (
            replaced("host: localhost}", "host: localhost, password_file: /p}"),
            9,
            "channels.mail.password_file",
            "a password without a login",
            "`username`",
        ),
        (
            with_line("dsn:", "    actions: {start_servr: act}"),
            13,
            "targets.orders.actions.start_servr",
            'unknown action "start_servr"',
            "`start_server`",
        ),
        (
            with_line("dsn:", "    actions: {start_server: always}"),
            13,
            "targets.orders.actions.start_server",
            '"always" is not a known value',
            "observe, advise, act",
        ),
        (
            with_line("dsn:", "    actions: {end_idle_sessions: act}"),
            13,
            "targets.orders.actions.end_idle_sessions",
            "act: sessions cannot be ended without acting_dsn",
            "stanch grants",
        ),
        (
            with_line("dsn:", "    actions: {end_blocking_session: advise}"),
            13,
            "targets.orders.actions.end_blocking_session",
            "advise: sessions cannot be ended without acting_dsn",
            "stanch grants",
        ),
        (
            with_line("dsn:", "    host: none", "    actions: {set_aside_lock_file: act}"),
            14,
            "targets.orders.actions.set_aside_lock_file",
            "host is none",
            "host: auto",
        ),
        (
            with_line("dsn:", "    manager: none", "    actions: {start_server: act}"),
            14,
            "targets.orders.actions.start_server",
            "nobody starts the server",
            "manager: auto",
        ),
        (
            with_line("dsn:", "    actions: {free_space: act}"),
            13,
            "targets.orders.actions.free_space",
            "names nothing to free",
            "ballast",
        ),
        (
            with_line("dsn:", "    severity_of: {disk_low: 5}"),
            13,
            "targets.orders.severity_of.disk_low",
            "5 is out of range",
            "Between 1 and 4",
        ),
        (
            with_line("dsn:", "    severity_of: {disk_lo: 3}"),
            13,
            "targets.orders.severity_of.disk_lo",
            "unknown symptom",
            "`disk_low`",
        ),
        (
            SMALL + "severities:\n  1: {label: A, name: a, ack_within: 1m}\n",
            13,
            "severities",
            "severity 2, 3, 4 missing",
            "all of 1, 2, 3, 4",
        ),
        (
            with_line("dsn:", "    rules: {connections_high: {limit: 95%}}"),
            13,
            "targets.orders.rules.connections_high.limit",
            "is not below connections_exhausted",
            "comes first",
        ),
        (
            with_line("dsn:", "    rules: {disk_full: {limit: 1MB, clear: 1kB}}"),
            13,
            "targets.orders.rules.disk_full.clear",
            "is below the limit",
            "other side",
        ),
        (
            with_line("dsn:", "    rules: {long_transaction: {clear: 2m}}"),
            13,
            "targets.orders.rules.long_transaction.clear",
            "is above the limit of 1m",
            "other side",
        ),
        (
            with_line("dsn:", "    rules: {disk_ful: {limit: 1MB}}"),
            13,
            "targets.orders.rules.disk_ful",
            "unknown rule",
            "Did you mean `disk_full`",
        ),
        (
            with_line("dsn:", "    rules: {server_down: {limit: 3}}"),
            13,
            "targets.orders.rules.server_down.limit",
            "unknown key",
            "severity",
        ),
        (
            with_line("dsn:", "    rules: {disk_low: {also: 3}}"),
            13,
            "targets.orders.rules.disk_low.also",
            "unknown key",
            "limit",
        ),
        (
            with_line("dsn:", "    tier: oltp"),
            13,
            "targets.orders.tier",
            "unknown tier",
            "under `tiers`",
        ),
        (
            with_line("dsn:", "    limits: {disk_full_free: 1GB}"),
            13,
            "targets.orders.limits.disk_full_free",
            "no longer set here",
            "rules: {disk_full: {limit: 32MiB}}",
        ),
        (
            SMALL + "tiers: {oltp: {rules: {deadlocks: {limit: 5%}}}}\n",
            13,
            "tiers.oltp.rules.deadlocks.limit",
            "is not a number",
            "without unit",
        ),
        (
            with_line("dsn:", "    rescue: {window: 2s, check_every: 3s}"),
            13,
            "targets.orders.rescue.check_every",
            "longer than the window",
            "several times",
        ),
        (SMALL.split("targets:")[0] + "targets: {}\n", 10, "targets", "is empty", "one server"),
        # --- not YAML at all
        ("", 1, "", "the file is empty", "stanch init"),
        ("# nothing\n", 1, "", "the file is empty", "stanch init"),
        ("- a\n", 1, "", "is a list, not a stanch.yaml", "key: value"),
        (SMALL + "listen: [\n", 14, "", "is not YAML", "indentation"),
        (SMALL + "\tlisten: x\n", 13, "", "is not YAML", "indentation"),
        (SMALL + "a: \x07\n", 13, "", "character that YAML does not allow", "Control characters"),
        (SMALL + "---\nb: 1\n", 13, "", "is not YAML", "indentation"),
        ("a: " + "[" * 50, 1, "", "nested more than", "plainly"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_on_its_line(
    text: str, line: int, path: str, what: str, hint: str
) -> None:
    parsed = read_policy(text, file="stanch.yaml")
    assert parsed.policy is None
    [found] = [f for f in parsed.errors if f.path == path and what in f.what]
    assert found.line == line
    assert hint in found.hint
    assert found.file == "stanch.yaml"
    assert "hunter2" not in str(parsed.findings)
    assert found.what[0].islower() or not found.what[0].isalpha()
    assert not found.what.endswith(".")
    assert found.hint.endswith((".", "?"))


@pytest.mark.parametrize(
    ("text", "line", "path", "what"),
    [
        (
            replaced("service=orders", "host=h password=hunter2"),
            12,
            "targets.orders.dsn",
            "has a password in it",
        ),
        (
            replaced("service=orders", "postgresql://u:hunter2@h/x"),
            12,
            "targets.orders.dsn",
            "has a password in it",
        ),
        (
            with_line("dsn:", "  same: {dsn: service=orders}"),
            13,
            "targets.same.dsn",
            'connection string of "orders"',
        ),
        (with_line("dsn:", "    desired: running"), 13, "targets.orders.desired", "is only noted"),
        (SMALL + "listen: 0.0.0.0:8432\n", 13, "listen", "read from the network"),
        (
            replaced("host: localhost}", "host: localhost, username: u, password_file: /p}"),
            9,
            "channels.mail.username",
            "in the clear",
        ),
    ],
)
def test_a_warning_is_shown_and_fails_nothing(text: str, line: int, path: str, what: str) -> None:
    parsed = read_policy(text, file="stanch.yaml")
    assert parsed.policy is not None
    [found] = parsed.warnings
    assert (found.line, found.path, found.level) == (line, path, "warning")
    assert what in found.what
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "text",
    [
        replaced("service=orders", "postgresql://u@h:5432/x?sslmode=verify-full"),
        replaced("service=orders", "host=h passfile=/etc/stanch/pgpass user=u"),
        replaced("service=orders", r"host='with space' dbname = 'it\'s'"),
        with_line("dsn:", "    page_after: 0"),
        with_line("dsn:", "    page_after: 1.5m"),
        with_line("dsn:", "    rules: {disk_full: {limit: 1.5 gib}}"),
        with_line("dsn:", "    actions: {end_idle_sessions: observe, free_space: observe}"),
        with_line("dsn:", "    acting_dsn: service=a", "    actions: {end_idle_sessions: act}"),
        with_line("dsn:", "    free_space: {old_logs_days: 7}", "    actions: {free_space: act}"),
        with_line("dsn:", "    desired: running", "    actions: {start_server: advise}"),
        SMALL + 'listen: "[::1]:8432"\n',
        SMALL + "listen: localhost:1\n",
        SMALL + "heartbeat:\n  url: https://x.example.com/@me?a=1\n",
        with_line("mail:", "  no: {type: terminal}"),
        with_line("dsn:", "    rules: {connections_high: {limit: 95%, off: true}}"),
        with_line("dsn:", "    rules: {long_transaction: {limit: 30s}}"),
        with_line("dsn:", "    tier: x") + "tiers: {x: {}}\n",
        SMALL + "rules: {disk_filling: {limit: 3h}}\n",
    ],
)
def test_near_misses_stay_quiet(text: str) -> None:
    parsed = read_policy(text, file="stanch.yaml")
    assert parsed.findings == ()
    assert parsed.policy is not None


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    text = textwrap.dedent("""\
        state_directory: relative
        people:
          asha: {name: Asha Example, contacts: [{channel: post, address: nowhere}]}
        ladder: [bob]
        channels:
          mail: {type: smtp, host: localhost, port: 0}
        targets:
          orders: {dsn: service=a, page_after: 5, colour: red}
          billing: {rules: {connections_high: {limit: 50}}}
        """)
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(text, file="/etc/stanch.yaml")
    lines = [finding.line for finding in caught.value.findings]
    assert lines == [1, 3, 3, 4, 6, 8, 8, 9, 9]
    assert str(caught.value).count("/etc/stanch.yaml:") == 9


def test_a_mistake_in_one_value_makes_no_second_finding_about_what_depends_on_it() -> None:
    text = replaced("{type: smtp, host: localhost}", "{type: smtp, host: 5}")
    assert [f.path for f in findings(text)] == ["channels.mail.host"]
    text = replaced("name: Asha Example", "nam: Asha Example")
    assert {f.path for f in findings(text)} == {"people.asha.nam", "people.asha"}


def test_a_merge_fills_in_what_a_target_does_not_say_itself() -> None:
    text = SMALL.replace("  orders:\n", "  orders: &usual\n").replace(
        "    dsn: service=orders\n",
        "    dsn: service=orders\n    page_after: 30s\n    sample_every: 2s\n"
        "  billing: {<<: *usual, dsn: service=billing, sample_every: 5s}\n",
    )
    policy = parse_policy(text, file="stanch.yaml")
    billing = policy.target("billing")
    assert billing is not None
    assert (billing.dsn, billing.page_after_s, billing.sample_every_s) == (
        "service=billing",
        30.0,
        5.0,
    )


@pytest.mark.parametrize(
    "text",
    [
        SMALL + "heartbeat: &a {<<: *a, url: http://x.example.com}\n",
        SMALL + "heartbeat: {<<: 5, url: http://x.example.com}\n",
    ],
)
def test_a_merge_of_itself_or_of_nothing_is_a_finding(text: str) -> None:
    assert [(f.line, f.path) for f in findings(text)] == [(13, "heartbeat.<<")]


def test_a_bomb_of_merges_ends_in_a_finding_and_not_in_the_machine() -> None:
    layers = ["a0: &a0 {x: 1}"]
    layers += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 8)}]}}" for n in range(1, 22)]
    found = findings("\n".join(layers) + "\nheartbeat: {<<: *a21}\n")
    assert any("larger than" in f.what or "unknown key" in f.what for f in found)


def test_a_list_of_aliases_cannot_grow_without_bound() -> None:
    people = "people: &p {" + ", ".join(f"p{n}: {{name: N}}" for n in range(600)) + "}\n"
    text = people + "targets: {" + ", ".join(f"t{n}: *p" for n in range(490)) + "}\n"
    assert any("more than 500 findings" in f.what for f in findings(text))


def test_findings_of_hostile_names_are_one_printable_line() -> None:
    found = findings(SMALL + '"\\e[31m\\n<b>' + "x" * 500 + '": 1\n')
    assert all(str(f).isprintable() and len(str(f)) < 500 for f in found)


def test_the_canonical_text_reads_back_as_the_same_policy() -> None:
    for text in (SMALL, FULL):
        policy = parse_policy(text, file="stanch.yaml")
        canonical = canonical_text(policy)
        assert parse_policy(canonical, file="stored") == policy
        assert canonical_text(parse_policy(canonical, file="stored")) == canonical


def test_comments_and_spacing_make_no_new_policy_but_a_changed_limit_does() -> None:
    def digest(text: str) -> str:
        return policy_hash(canonical_text(parse_policy(text, file="stanch.yaml")))

    assert digest(SMALL) == digest("# a comment\n\n" + SMALL.replace("[asha]", "[ asha ]"))
    assert digest(SMALL) != digest(with_line("dsn:", "    page_after: 1s"))


def test_the_stored_text_holds_no_password() -> None:
    for dsn in (
        "host=h password='hunter2 x' user=u",
        "postgresql://u:hunter2@h/x",
        "postgresql://u@h/x?password=hunter2&sslmode=require",
    ):
        policy = parse_policy(replaced("service=orders", f'"{dsn}"'), file="stanch.yaml")
        stored = canonical_text(policy)
        assert "hunter2" not in stored
        [target] = parse_policy(stored, file="stored").targets
        assert "h" in target.dsn


def test_a_home_directory_is_filled_in() -> None:
    policy = parse_policy(replaced("/var/lib/stanch", "~/stanch"), file="stanch.yaml")
    assert policy.state_directory.startswith("/")
    assert policy.state_directory.endswith("/stanch")
