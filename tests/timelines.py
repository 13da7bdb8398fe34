"""Short ways to say a timeline in a test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stanch.incident.fold import apply
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.diagnosis import CauseFinding, Diagnosis, Verdict
from stanch.model.ids import (
    CauseId,
    ChannelName,
    DeliveryId,
    IncidentId,
    MessageId,
    ObligationId,
    PersonId,
    PlanId,
    StepId,
    TargetName,
    WriterId,
)
from stanch.model.links import Link
from stanch.model.messages import Delivery, MessageKind
from stanch.model.plans import Mode, Plan, PlannedStep
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.model.timeline import Recorded
from stanch.policy.policy import (
    Contact,
    Person,
    Policy,
    Rescue,
    SmtpChannel,
    TargetPolicy,
)

T0 = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
ORDERS = TargetName("orders")
ANN, BO = PersonId("ann"), PersonId("bo")
MAIL = ChannelName("mail")

POLICY = Policy(
    state_directory="/nowhere",
    people=(
        Person(id=ANN, name="Ann", contacts=(Contact(channel=MAIL, address="ann@example.com"),)),
        Person(id=BO, name="Bo", contacts=(Contact(channel=MAIL, address="bo@example.com"),)),
    ),
    ladder=(ANN, BO),
    channels=(SmtpChannel(name=MAIL, host="127.0.0.1"),),
    targets=(
        TargetPolicy(
            name=ORDERS,
            dsn="service=orders",
            actions={"start_server": Mode.ACT},
            rescue=Rescue(window_s=10, check_every_s=2, resolve_after_s=60),
        ),
    ),
)


def linked(policy: Policy, *links: Link) -> Policy:
    """The policy with links on its target."""
    [target] = policy.targets
    return replace(policy, targets=(replace(target, links=links),))


def at(seconds: float) -> datetime:
    """So many seconds after the incident opened."""
    return T0 + timedelta(seconds=seconds)


def symptom(kind: SymptomKind = SymptomKind.SERVER_DOWN, subject: str = "") -> Symptom:
    return Symptom(kind=kind, target=ORDERS, since=T0, subject=subject)


def opened(**changes: object) -> e.IncidentOpened:
    event = e.IncidentOpened(
        target=ORDERS,
        title="server down",
        symptom=symptom(),
        severity_rank=1,
        severity_label="P0",
        severity_reason="server_down",
        data_at_risk="possible",
        policy_hash="h1",
        page_after_s=0.0,
    )
    return replace(event, **changes)  # type: ignore[arg-type]


def diagnosed(cause: str = "killed", *, subject: str = "", when: datetime = T0) -> e.Event:
    found = CauseFinding(id=CauseId(cause), summary=cause, probability=0.9, subject=subject)
    return e.DiagnosisRecorded(
        diagnosis=Diagnosis(verdict=Verdict.CAUSE, causes=(found,), at=when, elapsed_ms=1.0)
    )


def unknown_verdict(when: datetime = T0) -> e.Event:
    return e.DiagnosisRecorded(
        diagnosis=Diagnosis(verdict=Verdict.UNKNOWN, causes=(), at=when, elapsed_ms=1.0)
    )


def page(
    level: int = 1, persons: tuple[PersonId, ...] = (ANN,), caused_by: int = 1
) -> e.MessageRaised:
    message = MessageId(f"page-{level}")
    return e.MessageRaised(
        id=message,
        message_kind=MessageKind.PAGE,
        level=level,
        persons=persons,
        deliveries=tuple(
            Delivery(
                id=DeliveryId(f"{message}-{p}"),
                message_id=message,
                channel=MAIL,
                address=f"{p}@example.com",
                person=p,
            )
            for p in persons
        ),
        reason="",
        subject="s",
        short="s",
        body="b",
        obligation=ObligationId(f"page/{level}@{caused_by}"),
    )


def plan(mode: Mode = Mode.ACT, *, steps: int = 1, made: float = 1.0) -> Plan:
    return Plan(
        id=PlanId("plan-1"),
        runbook="start-server",
        cause=CauseId("killed"),
        steps=tuple(
            PlannedStep(id=StepId(f"s{n}"), action="start_server", no_undo="it only starts")
            for n in range(1, steps + 1)
        ),
        mode=mode,
        made_at=at(made),
        expires_at=at(made + 1800),
        digest="d" * 64,
    )


def intended(step: str = "s1", *, attempt: int = 1, when: float = 2.0) -> e.StepIntended:
    return e.StepIntended(
        plan_id=PlanId("plan-1"),
        step_id=StepId(step),
        action="start_server",
        attempt=attempt,
        epoch=1,
        act_before=at(when + 3),
        act_before_boot_ns=0,
        boot_id="boot",
    )


class Story:
    """A timeline under construction: each `then` is one event at a moment."""

    def __init__(self, first: e.Event | None = None) -> None:
        self.timeline: list[Recorded] = []
        self.incident = Incident(id=IncidentId("20260301-001"))
        if first is not None:
            self.then(first, 0)

    def then(self, event: e.Event, seconds: float) -> Story:
        seq = len(self.timeline) + 1
        recorded = Recorded(
            incident_id=self.incident.id,
            seq=seq,
            at=at(seconds),
            event=event,
            writer_id=WriterId("w"),
            n=seq,
            basis_seq=seq - 1,
            hash=b"",
        )
        self.timeline.append(recorded)
        self.incident = apply(self.incident, recorded)
        return self
