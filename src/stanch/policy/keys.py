"""Every key of stanch.yaml, once: the parser, the JSON schema, the template and the manual use it.

Defaults are not repeated here: they are those of the dataclasses in `policy.py`.
"""

from __future__ import annotations

from stanch.model.symptoms import SymptomKind
from stanch.policy.backups import BACKUPS
from stanch.policy.canary import CANARY
from stanch.policy.clusters import ClusterPolicy
from stanch.policy.hook_keys import HOOKS
from stanch.policy.host_keys import HOST_POLICY
from stanch.policy.kinds import (
    HOST,
    HOST_PORT,
    HTTP_URL,
    LABEL,
    MAIL_ADDRESS,
    MODE,
    NAME,
    WORDS,
    Boolean,
    Choice,
    Dsn,
    Integer,
    Path,
    Text,
)
from stanch.policy.level_keys import LEVELS
from stanch.policy.links import LINKS
from stanch.policy.log_store_keys import LOG_ERRORS
from stanch.policy.metrics import METRIC_LABELS
from stanch.policy.patroni import PATRONI
from stanch.policy.policy import (
    ACTIONS,
    BlastRadius,
    BreakGlass,
    Contact,
    FreeSpace,
    Heartbeat,
    Limits,
    Person,
    Policy,
    Rescue,
    Severity,
    SmtpChannel,
    TargetPolicy,
    TerminalChannel,
    Tier,
    WebhookChannel,
)
from stanch.policy.pool_keys import POOLS
from stanch.policy.quantities import Duration
from stanch.policy.rule_keys import RULES
from stanch.policy.shapes import Key, ListOf, MapOf, Named, Section, Variants
from stanch.policy.sign_keys import SERVICES, SIGNS
from stanch.policy.signal_keys import SIGNALS
from stanch.policy.silence_keys import SILENCE

RANKS = ("1", "2", "3", "4")
CONNECT_TIMEOUT = Duration(min_s=0.1, max_s=300)

CONTACT = Section(
    title="contact",
    make=Contact,
    keys=(
        Key(
            name="channel",
            field="channel",
            holds=NAME,
            doc="Name of a mail channel from `channels`.",
            example="mail",
        ),
        Key(
            name="address",
            field="address",
            holds=MAIL_ADDRESS,
            doc="Where on that channel this person is reached.",
            example="oncall@example.com",
        ),
    ),
)

PERSON = Section(
    title="person",
    make=Person,
    keys=(
        Key(
            name="name",
            field="name",
            holds=WORDS,
            doc="The name that appears in pages and post-mortems.",
            example="Asha Example",
        ),
        Key(
            name="contacts",
            field="contacts",
            holds=ListOf(item=CONTACT, noun="contact"),
            doc="Every way to reach this person; a page goes to all of them at once.",
        ),
    ),
)

SMTP = Section(
    title="smtp channel",
    make=SmtpChannel,
    keys=(
        Key(
            name="host",
            field="host",
            holds=HOST,
            doc="The mail server that takes the messages.",
            example="localhost",
        ),
        Key(name="port", field="port", holds=Integer(low=1, high=65535), doc="Its port."),
        Key(
            name="sender",
            field="sender",
            holds=MAIL_ADDRESS,
            doc="The address the mails come from.",
        ),
        Key(
            name="tls",
            field="tls",
            holds=Choice(values=("none", "starttls", "tls")),
            doc="How the connection is encrypted: not, upgraded by STARTTLS, or from the start.",
        ),
        Key(
            name="username",
            field="username",
            holds=Text(may_be_empty=True),
            doc="For mail servers that want a login. Empty: no login.",
        ),
        Key(
            name="password_file",
            field="password_file",
            holds=Path(),
            doc="A file with the password on its first line, readable by Stanch only.",
            example="/etc/stanch/smtp-password",
        ),
        Key(
            name="timeout",
            field="timeout_s",
            holds=CONNECT_TIMEOUT,
            doc="How long one attempt may take before it counts as failed.",
        ),
    ),
)

WEBHOOK = Section(
    title="webhook channel",
    make=WebhookChannel,
    keys=(
        Key(
            name="url",
            field="url",
            holds=HTTP_URL,
            doc="Where every page and update is posted as JSON.",
            example="https://hooks.example.com/stanch",
        ),
        Key(
            name="secret_file",
            field="secret_file",
            holds=Path(),
            doc="A file with the secret the posts are signed with. Empty: not signed.",
            example="/etc/stanch/webhook-secret",
        ),
        Key(
            name="timeout",
            field="timeout_s",
            holds=CONNECT_TIMEOUT,
            doc="How long one attempt may take before it counts as failed.",
        ),
    ),
)

TERMINAL = Section(title="terminal channel", make=TerminalChannel, keys=())

CHANNEL = Variants(
    title="channel", by_type={"smtp": SMTP, "webhook": WEBHOOK, "terminal": TERMINAL}
)

SEVERITY = Section(
    title="severity",
    make=Severity,
    keys=(
        Key(
            name="label",
            field="label",
            holds=LABEL,
            doc="What your team calls this rank: P1, SEV-1, Critical.",
            example="P0",
        ),
        Key(
            name="name",
            field="name",
            holds=WORDS,
            doc="The rank in a word.",
            example="critical",
        ),
        Key(
            name="ack_within",
            field="ack_within_s",
            holds=Duration(min_s=1),
            doc="Without an acknowledgement after this long, the next person is paged.",
            example="5m",
        ),
        Key(
            name="pages",
            field="pages",
            holds=Boolean(),
            doc="Whether people are paged; with false they get an update instead.",
        ),
    ),
)

LIMITS = Section(
    title="limits",
    make=Limits,
    keys=(
        Key(
            name="clear_hold",
            field="clear_hold_s",
            holds=Duration(max_s=3600),
            doc="Readings must stay good this long before a symptom clears.",
        ),
        Key(
            name="flap_window",
            field="flap_window_s",
            holds=Duration(max_s=86_400),
            doc="A symptom that returns within this time reopens its incident.",
        ),
    ),
    moved={
        "connections_high": "Write `rules: {connections_high: {limit: 80%}}` in its place.",
        "connections_critical": "Write `rules: {connections_exhausted: {limit: 90%}}` instead.",
        "connections_hold": "Write `hold` for `connections_high`, `connections_exhausted` and "
        "`disk_low` under `rules`.",
        "blocked_sessions_min": "Write `rules: {sessions_blocked: {limit: 3}}` in its place.",
        "blocked_wait_min": "Write `rules: {sessions_blocked: {also: 10s}}` in its place.",
        "disk_low_free": "Write `rules: {disk_low: {limit: 10%}}` in its place.",
        "disk_full_free": "Write `rules: {disk_full: {limit: 32MiB}}` in its place.",
    },
)

TIER = Section(
    title="tier",
    make=Tier,
    keys=(
        Key(
            name="rules",
            field="rules",
            holds=RULES,
            doc="What targets of this tier change about rules.",
        ),
    ),
)

FREE_SPACE = Section(
    title="free_space",
    make=FreeSpace,
    keys=(
        Key(
            name="ballast",
            field="ballast",
            holds=ListOf(item=Path(), noun="file"),
            doc="Files kept only to be deleted, one at a time, when their volume is full.",
            example="[/var/lib/postgresql/ballast-1]",
        ),
        Key(
            name="old_logs_days",
            field="old_logs_days",
            holds=Integer(low=1, high=3650),
            doc="Server logs older than so many days may be deleted. Left out: never.",
            example="14",
        ),
        Key(
            name="keep_dumps",
            field="keep_dumps",
            holds=Integer(low=3, high=1000),
            doc="Dumps in `backups.dumps` that are older than `dumps_keep` may be deleted last, "
            "where so many newer ones of the same series were read and are whole. A file "
            "`NAME.hold` beside a dump keeps it. Left out: never.",
            example="3",
        ),
    ),
)

BLAST_RADIUS = Section(
    title="blast_radius",
    make=BlastRadius,
    keys=(
        Key(
            name="starts_per_hour",
            field="starts_per_hour",
            holds=Integer(low=0, high=1000),
            doc="Starts within an hour before a person is asked for the next one.",
            example="5",
        ),
        Key(
            name="sessions_per_minute",
            field="sessions_per_minute",
            holds=Integer(low=0, high=10_000),
            doc="Sessions ended and statements cancelled within a minute; then it pauses.",
            example="50",
        ),
    ),
)

RESCUE = Section(
    title="rescue",
    make=Rescue,
    keys=(
        Key(
            name="window",
            field="window_s",
            holds=Duration(min_s=1, max_s=86_400),
            doc="Application logins and writes must work this long before `rescued` is said.",
        ),
        Key(
            name="check_every",
            field="check_every_s",
            holds=Duration(min_s=0.1, max_s=3600),
            doc="How often that is tried.",
        ),
        Key(
            name="resolve_after",
            field="resolve_after_s",
            holds=Duration(max_s=604_800),
            doc="After a rescue, so long without a symptom means resolved.",
        ),
    ),
)

SYSTEM_ID = "7301234567890123456"

TARGET = Section(
    title="target",
    make=TargetPolicy,
    keys=(
        Key(
            name="dsn",
            field="dsn",
            holds=Dsn(),
            doc="How Stanch watches the server; the role needs pg_monitor (`stanch grants`).",
            example="service=orders",
        ),
        Key(
            name="acting_dsn",
            field="acting_dsn",
            holds=Dsn(),
            doc="How Stanch ends sessions; the role needs pg_signal_backend. Left out: it cannot.",
            example="service=orders_act",
        ),
        Key(
            name="app_dsn",
            field="app_dsn",
            holds=Dsn(),
            doc="How the application logs in; a rescue is proven with it. "
            "Left out: proven by reading with `dsn` only.",
            example="service=orders_app",
        ),
        Key(
            name="host",
            field="host",
            holds=HOST_POLICY,
            doc="Whether the server runs on this machine, so that files and processes can be read; "
            "or how its own machine is watched. `managed`: a provider keeps it to itself.",
        ),
        Key(
            name="data_directory",
            field="data_directory",
            holds=Path(),
            doc="The server's data directory. Left out: found by Stanch.",
            example="/var/lib/postgresql/16/main",
        ),
        Key(
            name="system_identifier",
            field="system_identifier",
            holds=Text(word="system identifier", pattern="[1-9][0-9]{0,19}", like=SYSTEM_ID),
            doc="The database cluster that has to answer there (`SELECT system_identifier FROM "
            "pg_control_system()`). Left out: the first that was seen. Set it where another one "
            "takes its place on purpose.",
            example=f'"{SYSTEM_ID}"',
        ),
        Key(
            name="log",
            field="log",
            holds=Path(),
            doc="The server's log file or log directory. Left out: found from its settings.",
            example="/var/log/postgresql/postgresql-16-main.log",
        ),
        Key(
            name="security_logs",
            field="security_logs",
            holds=ListOf(item=Path(), noun="file"),
            doc="auth.log, fail2ban.log and ufw.log of the server's machine: refused logins, bans "
            "and blocked packets are counted by address. On this machine or over ssh.",
            example="[/var/log/auth.log, /var/log/fail2ban.log]",
        ),
        Key(
            name="bin_directory",
            field="bin_directory",
            holds=Path(),
            doc="Where pg_ctl and pg_controldata of this server are. Left out: found by Stanch.",
            example="/usr/lib/postgresql/16/bin",
        ),
        Key(
            name="manager",
            field="manager",
            holds=Choice(values=("auto", "pg_ctl", "pg_ctlcluster", "systemd", "patroni", "none")),
            doc="Who starts and stops the server; with none, Stanch does neither. systemd: its "
            "unit is asked for although Stanch is not root, and polkit has to let it.",
        ),
        Key(
            name="desired",
            field="desired",
            holds=Choice(values=("running", "unmanaged")),
            doc="running: a clean stop nobody ordered is undone. unmanaged: a person is asked.",
        ),
        Key(
            name="page_after",
            field="page_after_s",
            holds=Duration(max_s=86_400),
            doc="Nobody is paged earlier for a server that is down: a restart may heal it. "
            "For what no restart heals people are paged at once. Left out: the manager's restart "
            "time plus the longest crash recovery seen, at most 5m; 0s where nobody else is known "
            "to restart it. `stanch check` shows it.",
            example="30s",
        ),
        Key(
            name="sample_every",
            field="sample_every_s",
            holds=Duration(min_s=0.2, max_s=3600),
            doc="How often the server's vitals are read.",
        ),
        Key(
            name="slow_every",
            field="slow_every_s",
            holds=Duration(min_s=60, max_s=86_400),
            doc="How often sizes, sequences, rights, file errors and inventories are looked at, "
            "over one short session a database, and only while the server is well.",
        ),
        Key(
            name="pools",
            field="pools",
            holds=POOLS,
            doc="Pools in front of the server, by a name for each source: the console of a pooler, "
            "a query to an application's own tables, or what it tells over HTTP. Asked every 5s.",
            example="{bouncer: {type: pgbouncer, dsn: service=bouncer_console}}",
        ),
        Key(
            name="hooks",
            field="hooks",
            holds=HOOKS,
            doc="Requests that `call_hook` may send, by name: a flag, a deployment, a name that "
            "leads elsewhere. Nothing else is ever called.",
            example="{read_only: {url: https://flags.example.com/read_only, body: "
            "'{\"enabled\": true}', verify_url: https://flags.example.com/read_only, "
            'json: .enabled, equals: "true"}}',
        ),
        Key(
            name="services",
            field="services",
            holds=SERVICES,
            doc="Services that use the server, with their health checks over HTTP.",
            example="{shop: {url: https://shop.example.com/health, json: .database, "
            "equals: connected}}",
        ),
        Key(
            name="signs",
            field="signs",
            holds=SIGNS,
            doc="What services that use the server say of themselves, in a Prometheus or over "
            "HTTP: request rate, error rate, latency.",
            example='{shop: {type: prometheus, url: "http://prometheus.example.com:9090", '
            'request_rate: "sum(rate(http_requests_total[2m]))"}}',
        ),
        Key(
            name="log_errors",
            field="log_errors",
            holds=LOG_ERRORS,
            doc="How many errors services that use the server logged, as a log store counts them. "
            "A line counts once it is 30s old.",
            example='{shop: {type: loki, url: "https://loki.example.com", '
            'query: \'{app="shop"} |= "error"\'}}',
        ),
        Key(
            name="links",
            field="links",
            holds=LINKS,
            doc="Where people look further, such as dashboards, traces and log searches: shown "
            "with each of its incidents, in pages and in the post-mortem.",
            example='{dashboard: {url: "https://grafana.example.com/d/orders?from={since_ms}'
            '&to={until_ms}"}}',
        ),
        Key(
            name="patroni",
            field="patroni",
            holds=PATRONI,
            doc="Patroni's own word on the server and its cluster, where it runs the server. Left "
            "out: it is not asked.",
        ),
        Key(
            name="canary",
            field="canary",
            holds=CANARY,
            doc="A small row that is written again and again, so that writes which fail or hang "
            "while reads work are told. Left out: nothing is ever written.",
        ),
        Key(
            name="wake",
            field="wake",
            holds=Choice(values=("always", "never")),
            doc="never: Stanch does not touch the server by itself, because its provider lets it "
            "sleep while nobody is connected, and every session would keep it awake and paid for. "
            "What alerts from outside report still opens incidents, and their diagnosis looks.",
        ),
        Key(
            name="severity_of",
            field="severity_of",
            holds=MapOf(
                names=tuple(kind.value for kind in SymptomKind),
                value=Integer(low=1, high=4),
                noun="symptom",
            ),
            doc="Rank of each symptom, 1 is worst. What is not listed has that of its rule.",
            example="{slow_query: 3}",
        ),
        Key(
            name="actions",
            field="actions",
            holds=MapOf(names=ACTIONS, value=MODE, noun="action"),
            doc="What Stanch may do, by action (docs/actions.md has them): observe (name the "
            "runbook), advise (after `stanch approve`), act (by itself, when every guard says "
            "yes). What is not listed is observe.",
            example="{start_server: advise}",
        ),
        Key(
            name="limits",
            field="limits",
            holds=LIMITS,
            doc="When a symptom is over, and when one that returns is the same story.",
        ),
        Key(
            name="tier",
            field="tier",
            holds=NAME,
            doc="The tier whose rules hold, too. Left out: none.",
            example="oltp",
        ),
        Key(
            name="rules",
            field="rules",
            holds=RULES,
            doc="What this target changes about rules (`stanch rules` lists them).",
            example="{connections_high: {limit: 85%, hold: 10s}}",
        ),
        Key(
            name="metrics",
            field="metrics",
            holds=METRIC_LABELS,
            doc="How Prometheus knows this target: `stanch rules --prometheus` gives it the limits "
            "that hold for it. `*` stands for any text. Left out: it gets those of the whole "
            "policy.",
            example='{instance: ["db1.example.com:*"]}',
        ),
        Key(
            name="free_space",
            field="free_space",
            holds=FREE_SPACE,
            doc="What may be deleted on a full volume. Nothing else ever is.",
        ),
        Key(
            name="levels",
            field="levels",
            holds=LEVELS,
            doc="Levels of this target's own, in place of the policy's.",
            example="{people: {from: 5m, act: []}}",
        ),
        Key(
            name="blast_radius",
            field="blast_radius",
            holds=BLAST_RADIUS,
            doc="How much Stanch does by itself before a person is asked.",
        ),
        Key(
            name="rescue",
            field="rescue",
            holds=RESCUE,
            doc="What must hold before anybody is told that the server is back.",
        ),
        Key(
            name="backups",
            field="backups",
            holds=BACKUPS,
            doc="Where its backups lie; they are looked at every five minutes.",
        ),
        Key(
            name="protected_applications",
            field="protected_applications",
            holds=ListOf(item=Text(), noun="application_name"),
            doc="application_name values whose sessions are never ended.",
            example="[payroll]",
        ),
        Key(
            name="idle_session_age_min",
            field="idle_session_age_s_min",
            holds=Duration(min_s=1, max_s=604_800),
            doc="Only sessions idle at least this long may be ended.",
        ),
        Key(
            name="approve_within",
            field="approve_within_s",
            holds=Duration(min_s=10, max_s=86_400),
            doc="A plan that nobody approved after this long is void.",
        ),
    ),
)

CLUSTER = Section(
    title="cluster",
    make=ClusterPolicy,
    keys=(
        Key(
            name="targets",
            field="targets",
            holds=ListOf(item=NAME, noun="target"),
            doc="All its servers; which of them is the primary is seen, not said.",
            example="[orders, orders-standby]",
        ),
        Key(
            name="poolers",
            field="poolers",
            holds=ListOf(item=Text(), noun="pooler"),
            doc="Names that alerts from outside give to its poolers.",
            example="[orders-bouncer]",
        ),
        Key(
            name="services",
            field="services",
            holds=ListOf(item=Text(), noun="service"),
            doc="Names that alerts from outside give to services that need it.",
            example="[checkout]",
        ),
    ),
)

HEARTBEAT = Section(
    title="heartbeat",
    make=Heartbeat,
    keys=(
        Key(
            name="url",
            field="url",
            holds=HTTP_URL,
            doc="A watcher outside this machine that raises the alarm when it stops hearing.",
            example="https://heartbeat.example.com/stanch",
        ),
        Key(
            name="every",
            field="every_s",
            holds=Duration(min_s=1, max_s=86_400),
            doc="How often it hears from a healthy Stanch.",
        ),
    ),
)

BREAK_GLASS = Section(
    title="break_glass",
    make=BreakGlass,
    keys=(
        Key(
            name="people",
            field="people",
            holds=Integer(low=1, high=2),
            doc="How many it takes to override a guard; with 2, whoever asks cannot approve.",
            example="2",
        ),
        Key(
            name="page",
            field="page",
            holds=ListOf(item=NAME, noun="person id"),
            doc="Who is paged when it is asked for. Left out: the first of the ladder.",
            example="[asha]",
        ),
    ),
)

POLICY = Section(
    title="stanch.yaml",
    make=Policy,
    keys=(
        Key(
            name="state_directory",
            field="state_directory",
            holds=Path(),
            doc="Where timelines are kept: a local file system, on no volume that is watched.",
            example="/var/lib/stanch",
        ),
        Key(
            name="people",
            field="people",
            holds=Named(entry=PERSON, name=NAME, field="id", noun="person"),
            doc="Everybody who can be paged, by a short id.",
        ),
        Key(
            name="ladder",
            field="ladder",
            holds=ListOf(item=NAME, noun="person id"),
            doc="Who is paged, in this order, round and round until somebody acknowledges.",
            example="[asha]",
        ),
        Key(
            name="channels",
            field="channels",
            holds=Named(entry=CHANNEL, name=NAME, field="name", noun="channel"),
            doc="How messages leave. Webhook and terminal channels receive every page and update; "
            "mail goes to the contacts of people.",
        ),
        Key(
            name="targets",
            field="targets",
            holds=Named(entry=TARGET, name=NAME, field="name", noun="target"),
            doc="The watched servers, by name.",
        ),
        Key(
            name="rules",
            field="rules",
            holds=RULES,
            doc="What all targets change about rules: limit, clear limit, hold, severity, off.",
            example="{long_transaction: {limit: 5m}}",
        ),
        Key(
            name="tiers",
            field="tiers",
            holds=Named(entry=TIER, name=NAME, field="name", noun="tier"),
            doc="Sorts of targets with rules of their own; a target names its `tier`.",
            example="{oltp: {rules: {slow_query: {limit: 2s}}}}",
        ),
        Key(
            name="clusters",
            field="clusters",
            holds=Named(entry=CLUSTER, name=NAME, field="name", noun="cluster"),
            doc="Servers that stand and fall together: what one failure does to the rest of its "
            "cluster is told in one incident.",
            example="{shop: {targets: [orders], poolers: [bouncer], services: [checkout]}}",
        ),
        Key(
            name="levels",
            field="levels",
            holds=LEVELS,
            doc="What changes the longer an incident lasts: what still runs by itself, who is "
            "paged, which plan is prepared.",
            example="{senior: {from: 15m, act: [], page: [asha]}}",
        ),
        Key(
            name="break_glass",
            field="break_glass",
            holds=BREAK_GLASS,
            doc="What it takes to override one of the few guards that yield to people.",
        ),
        Key(
            name="silences",
            field="silences",
            holds=Named(entry=SILENCE, name=NAME, field="name", noun="silence"),
            doc="When nobody is paged for some rules, now and then or once; each ends by itself.",
            example='{import: {reason: nightly, rules: [slow_query], from: "02:00", for: 2h}}',
        ),
        Key(
            name="severities",
            field="severities",
            holds=Named(
                entry=SEVERITY,
                name=Integer(low=1, high=4),
                field="rank",
                noun="severity",
                complete=RANKS,
            ),
            doc="The severity scale in your team's words; rank 1 is worst.",
        ),
        Key(
            name="heartbeat",
            field="heartbeat",
            holds=HEARTBEAT,
            doc="Who notices when Stanch itself falls silent. "
            "Needed where Stanch shares a machine with a target.",
        ),
        Key(
            name="signals",
            field="signals",
            holds=SIGNALS,
            doc="Alerts of other monitors, reports by mail, and heartbeats that have to arrive.",
        ),
        Key(
            name="listen",
            field="listen",
            holds=HOST_PORT,
            doc="Address of /healthz, /readyz and /metrics. Commands use the local socket only.",
        ),
        Key(
            name="control_endpoint",
            field="control_endpoint",
            holds=HOST_PORT,
            doc="Something that answers whenever this machine's network works, such as the "
            "gateway's DNS port. While it is silent too, no silence of a target is believed; where "
            "that lasts, Stanch calls itself blind.",
            example='"192.0.2.1:53"',
        ),
        Key(
            name="runbook_directory",
            field="runbook_directory",
            holds=Path(),
            doc="Your own runbooks; they replace shipped ones with the same id.",
            example="/etc/stanch/runbooks",
        ),
    ),
)
