"""The policy as values. `parse.py` makes them from YAML; every default is stated here, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stanch.model.hooks import Hook
from stanch.model.ids import ChannelName, PersonId, TargetName
from stanch.model.links import Link
from stanch.model.plans import Mode
from stanch.model.rules import RuleChange, RuleSettings, settings_of
from stanch.model.symptoms import SymptomKind
from stanch.policy.backups import Backups
from stanch.policy.canary import CanaryPolicy
from stanch.policy.clusters import ClusterPolicy
from stanch.policy.hosts import HostPolicy
from stanch.policy.levels import Level
from stanch.policy.log_stores import LogErrorSource
from stanch.policy.metrics import MetricLabels
from stanch.policy.patroni import PatroniSource
from stanch.policy.rules import declared_rules
from stanch.policy.signals import Signals
from stanch.policy.signs import ConsolePools, HealthCheck, PoolSource, SignsOfService
from stanch.policy.silences import PolicySilence

ACTIONS = (
    "start_server",
    "set_aside_lock_file",
    "end_idle_sessions",
    "end_blocking_session",
    "end_sessions",
    "cancel_statement",
    "free_space",
    "resume_pool",
    "pause_pool",
    "reset_pool",
    "resize_pool",
    "call_hook",
    "drop_slot",
    "analyze_table",
    "vacuum_table",
    "rebuild_index",
    "set_parameter",
    "set_role_timeout",
    "make_read_only",
    "quarantine_table",
    "stop_server",
    "restart_server",
    "restart_container",
    "raise_container_memory",
    "restart_compose_service",
)
"""Every action of this release; modes are given per action."""
SESSION_ACTIONS = (
    "end_idle_sessions",
    "end_blocking_session",
    "end_sessions",
    "cancel_statement",
    "drop_slot",
    "analyze_table",
    "vacuum_table",
    "rebuild_index",
    "set_parameter",
    "set_role_timeout",
    "make_read_only",
    "quarantine_table",
    "restart_server",
)
"""Those that need sessions of the acting role (`acting_dsn`)."""
SIGNALLING_ACTIONS = (
    "end_idle_sessions",
    "end_blocking_session",
    "end_sessions",
    "cancel_statement",
)
"""Those of them that end sessions or cancel what they run."""
POOL_ACTIONS = ("resume_pool", "pause_pool", "reset_pool", "resize_pool")
"""Those that need a pooler's console which may change it (`admin_dsn` of a pool source)."""
CONTAINER_ACTIONS = ("restart_container", "raise_container_memory", "restart_compose_service")
"""Those that need the engine of the server's container (`host: {docker: …}`)."""

READING_ACTIONS = ("gather",)
"""Those that touch nothing: no policy decides on them."""

ManagerKind = Literal["auto", "pg_ctl", "pg_ctlcluster", "systemd", "patroni", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Severity:
    """One rank of the severity scale, in the words of the team."""

    rank: int
    """1 is worst."""
    label: str
    name: str
    ack_within_s: float
    """After this long without an acknowledgement the next person is paged."""
    pages: bool = True
    """False: people get an update instead of a page."""


DEFAULT_SEVERITIES = (
    Severity(rank=1, label="P0", name="critical", ack_within_s=300),
    Severity(rank=2, label="P1", name="high", ack_within_s=900),
    Severity(rank=3, label="P2", name="medium", ack_within_s=3600, pages=False),
    Severity(rank=4, label="P3", name="low", ack_within_s=86400, pages=False),
)

DEFAULT_SEVERITY_OF: Mapping[str, int] = {
    kind.value: rule.severity for kind, rule in declared_rules().items()
}
"""Symptom kind to severity rank. Unsure means the higher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One way to reach a person."""

    channel: ChannelName
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    id: PersonId
    name: str
    contacts: tuple[Contact, ...] = ()
    """Empty: this person reads a channel that receives every page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpChannel:
    """Mail over SMTP; one thread per incident."""

    name: ChannelName
    host: str
    port: int = 25
    sender: str = "stanch@localhost"
    tls: Literal["none", "starttls", "tls"] = "none"
    username: str = ""
    password_file: str = ""
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChannel:
    """One signed HTTP POST a message; receives every page and update."""

    name: ChannelName
    url: str
    secret_file: str = ""
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalChannel:
    """Lines on the standard error of `stanch run`; receives every page and update."""

    name: ChannelName


Channel = SmtpChannel | WebhookChannel | TerminalChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a symptom is over, and when one that returns is the same story."""

    clear_hold_s: float = 3.0
    """A symptom clears only after readings stayed good this long."""
    flap_window_s: float = 600.0
    """A symptom that returns within this long after its incident ended reopens that incident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSpace:
    """What may be deleted on a full volume, safest first. Nothing else ever is."""

    ballast: tuple[str, ...] = ()
    """Files kept for this day; deleted one at a time."""
    old_logs_days: int | None = None
    """Server logs in the log directory older than this; None: never."""
    keep_dumps: int | None = None
    """Dumps in `backups.dumps` beyond so many newer whole ones of their series, once they are older
    than `dumps_keep`; None: never."""

    @property
    def any(self) -> bool:
        return bool(self.ballast) or self.old_logs_days is not None or self.keep_dumps is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlastRadius:
    """How much Stanch does by itself to one target; beyond, a person is asked."""

    starts_per_hour: int = 3
    """A server that goes down so often needs somebody who finds out why."""
    sessions_per_minute: int = 200
    """Sessions ended and statements cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """What must hold, and for how long, before "rescued" and "resolved" may be said."""

    window_s: float = 60.0
    """Application logins and writes must work for this long without a gap."""
    check_every_s: float = 5.0
    resolve_after_s: float = 600.0
    """After rescue, stable this long: resolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPolicy:
    """One watched server."""

    name: TargetName
    dsn: str
    """How to watch it; the role needs pg_monitor."""
    acting_dsn: str = ""
    """How to end sessions; the role needs pg_signal_backend. Empty: those actions are not had."""
    app_dsn: str = ""
    """How the application logs in; rescue is proven with it. Empty: with `dsn`, reads only."""
    host: HostPolicy = "auto"
    """Whether this machine is the server's: then Stanch may look at its files and processes. Or the
    way in which the server's own machine is watched."""
    data_directory: str = ""
    system_identifier: str = ""
    """The database cluster that has to answer. Empty: the first that was seen there."""
    log: str = ""
    """Server log file or directory. Empty: found from the server's own settings."""
    security_logs: tuple[str, ...] = ()
    """Logs of who was refused, banned or blocked on the server's machine."""
    bin_directory: str = ""
    manager: ManagerKind = "auto"
    """Who starts and stops the server."""
    desired: Literal["running", "unmanaged"] = "unmanaged"
    """`running`: a clean stop nobody ordered is undone. `unmanaged`: a person is asked."""
    page_after_s: float | None = None
    """None: as long as the manager's restart and the longest crash recovery seen take."""
    sample_every_s: float = 1.0
    slow_every_s: float = 300.0
    canary: CanaryPolicy | None = None
    patroni: PatroniSource | None = None
    """Who runs the server's part in a cluster, and can be asked how it is."""
    """Whether, and how often, a small row is written. None: never."""
    wake: Literal["always", "never"] = "always"
    """`never`: no session and no probe of its own accord, because any would wake a server that
    sleeps while nobody uses it."""
    pools: tuple[PoolSource, ...] = ()
    services: tuple[HealthCheck, ...] = ()
    signs: tuple[SignsOfService, ...] = ()
    log_errors: tuple[LogErrorSource, ...] = ()
    links: tuple[Link, ...] = ()
    """Shown with each of its incidents."""
    severity_of: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rank per symptom; what is not listed has that of its rule."""
    tier: str = ""
    """Name of the tier whose rules hold, too. Empty: none."""
    rules: Mapping[str, RuleChange] = field(default_factory=dict[str, RuleChange])
    """What this target changes about rules."""
    metrics: MetricLabels = field(default_factory=MetricLabels)
    """How Prometheus knows it; only for the rule file that is made for Prometheus."""
    inherited: Mapping[str, tuple[RuleChange, ...]] = field(
        default_factory=dict[str, tuple[RuleChange, ...]]
    )
    """What the whole policy and the tier change, in this order; made of them by the parser."""
    actions: Mapping[str, Mode] = field(default_factory=dict[str, Mode])
    """Mode per action; what is not listed is `observe`."""
    limits: Limits = field(default_factory=Limits)
    free_space: FreeSpace = field(default_factory=FreeSpace)
    blast_radius: BlastRadius = field(default_factory=BlastRadius)
    levels: tuple[Level, ...] = ()
    """Its own; empty: those of the whole policy, filled in by the parser."""
    rescue: Rescue = field(default_factory=Rescue)
    backups: Backups = field(default_factory=Backups)
    """Where its backups lie."""
    hooks: tuple[Hook, ...] = ()
    """Requests that may be sent to what stands beside the server; nobody else is ever called."""
    protected_applications: tuple[str, ...] = ()
    """application_name values whose sessions are never ended."""
    idle_session_age_s_min: float = 300.0
    """Only sessions idle at least this long may be ended."""
    approve_within_s: float = 1800.0

    def mode(self, action: str) -> Mode:
        return Mode.ACT if action in READING_ACTIONS else self.actions.get(action, Mode.OBSERVE)

    def admin_console(self, pooler: str) -> ConsolePools | None:
        """The pooler of that name, where policy has a way to change it."""
        consoles = (p for p in self.pools if isinstance(p, ConsolePools) and p.admin_dsn)
        return next((p for p in consoles if p.name == pooler), None)

    def hook(self, name: str) -> Hook | None:
        return next((h for h in self.hooks if h.name == name), None)

    def settings(self, kind: SymptomKind) -> RuleSettings:
        """What holds for a rule: as declared, changed by policy, tier and target in this order."""
        above = self.inherited.get(kind, ())
        return settings_of(declared_rules()[kind], *above, self.rules.get(kind))

    def limit(self, kind: SymptomKind) -> float:
        """The limit of a rule, for whoever acts by the number that also raises the symptom."""
        return self.settings(kind).limit

    def rank(self, kind: SymptomKind) -> int:
        """Severity rank of a symptom; `severity_of` has the last word."""
        return self.severity_of.get(kind.value) or self.settings(kind).severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Targets of one sort, such as those behind a shop or those for reports."""

    name: str
    rules: Mapping[str, RuleChange] = field(default_factory=dict[str, RuleChange])


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass:
    """What it takes to override a guard that yields."""

    people: int = 1
    """With two, whoever asks for it cannot approve it."""
    page: tuple[PersonId, ...] = ()
    """Who is paged when it is asked for; empty: the first of the ladder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A URL that hears from a healthy core; when it stops hearing, somebody outside notices."""

    url: str
    every_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything stanch.yaml says."""

    state_directory: str
    people: tuple[Person, ...]
    ladder: tuple[PersonId, ...]
    """Who is paged, in this order, round and round until somebody acknowledges."""
    channels: tuple[Channel, ...]
    targets: tuple[TargetPolicy, ...]
    rules: Mapping[str, RuleChange] = field(default_factory=dict[str, RuleChange])
    """What all targets change about rules."""
    tiers: tuple[Tier, ...] = ()
    clusters: tuple[ClusterPolicy, ...] = ()
    levels: tuple[Level, ...] = ()
    """What changes the longer an incident lasts, for every target without levels of its own."""
    break_glass: BreakGlass = field(default_factory=BreakGlass)
    silences: tuple[PolicySilence, ...] = ()
    """When nobody is paged for some rules."""
    severities: tuple[Severity, ...] = DEFAULT_SEVERITIES
    heartbeat: Heartbeat | None = None
    signals: Signals = field(default_factory=Signals)
    """Alerts and reports from outside."""
    listen: str = "127.0.0.1:8432"
    """Health and metrics; loopback unless said otherwise. Commands use the local socket only."""
    control_endpoint: str = ""
    """`host:port` of something that is up whenever this machine's network is, such as the gateway's
    DNS port: while it does not answer either, silence may be our own blindness. Empty: it is not
    asked."""
    runbook_directory: str = ""
    """The user's own runbooks; they override shipped ones by id."""

    def target(self, name: str) -> TargetPolicy | None:
        return next((t for t in self.targets if t.name == name), None)

    def cluster_of(self, target: str) -> ClusterPolicy | None:
        """The cluster a target is in, if it is in one."""
        return next((c for c in self.clusters if target in c.targets), None)

    def tier(self, name: str) -> Tier | None:
        return next((t for t in self.tiers if t.name == name), None)

    def person(self, person_id: str) -> Person | None:
        return next((p for p in self.people if p.id == person_id), None)

    @property
    def owners(self) -> tuple[PersonId, ...]:
        """Who is told when a person overrides a guard."""
        return self.break_glass.page or self.ladder[:1]

    def severity(self, rank: int) -> Severity:
        return next(s for s in self.severities if s.rank == rank)
