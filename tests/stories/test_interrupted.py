"""`stanch run` killed, or held, right after a given event: nothing twice, no page lost.

Every boundary is walked on virtual time elsewhere; these are real processes at a seeded sample of
them, and at all of them with STANCH_SOAK=1.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from fix_responder import MakeResponder, Responder
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = [pytest.mark.story, pytest.mark.parametrize("pg_major", [15], indirect=True)]

BOUNDARIES = (
    "incident.opened",
    "diagnosis.recorded",
    "message.raised",
    "plan.proposed",
    "delivery.attempted",
    "delivery.outcome",
    "step.intended",
    "step.outcome",
    "step.verified",
    "plan.ended",
    "rescue.checked",
    "incident.rescued",
)
SEED = 20260314
ALL = os.environ.get("STANCH_SOAK") == "1"
SAMPLE = 3
ACT_WITHIN_S = 3.0
"""A step intended is void after this; see `act_before`."""


def sampled() -> list[str]:
    """Between intent and act always; of the others a seeded few."""
    rest = [kind for kind in BOUNDARIES if kind != "step.intended"]
    few = rest if ALL else random.Random(SEED).sample(rest, SAMPLE)
    return ["step.intended", *few]


def starts(server: ScratchServer) -> int:
    return server.log_text().count("starting PostgreSQL")


def is_whole(stanch: Responder, server: ScratchServer) -> None:
    """What must hold however often the responder died on the way."""
    stanch.wait_for_status("resolved")
    assert starts(server) == 2, "the server was started exactly once"
    done = [s for s in stanch.events("step.outcome") if s["outcome"] == "done"]
    assert len(done) <= 1
    pages = [m for m in stanch.box.mails if "server down" in m.subject]
    assert pages, "the page was delivered"
    # At least once: a repeat is possible, and then it is known as one by its Message-ID.
    assert len({m.message_id for m in pages}) == 1
    assert len(stanch.incidents()) == 1
    verified = stanch.call("timeline", "verify")
    assert verified.status == 0, verified
    assert server.query("SELECT 1", user="app", dbname="app") == [(1,)]


@pytest.mark.parametrize("boundary", sampled())
def test_killed_right_after(
    server: ScratchServer, make_responder: MakeResponder, boundary: str
) -> None:
    stanch = make_responder(server)
    stanch.wait_until_noted()
    server.kill()
    stanch.wait_for_stored(boundary)
    stanch.kill()
    stanch.start(ready=False)
    is_whole(stanch, server)
    assert "responder.resumed" in stanch.kinds()


@pytest.mark.parametrize("held_s", [0.5, ACT_WITHIN_S + 2])
def test_held_between_intent_and_act(
    server: ScratchServer, make_responder: MakeResponder, held_s: float
) -> None:
    stanch = make_responder(server)
    stanch.wait_until_noted()
    server.kill()
    stanch.wait_for_stored("step.intended")
    stanch.pause()
    begun_before = starts(server)
    time.sleep(held_s)
    assert starts(server) in (begun_before, 2), "only what was already handed over goes on"
    stanch.resume()
    is_whole(stanch, server)


def test_killed_again_and_again(server: ScratchServer, make_responder: MakeResponder) -> None:
    stanch = make_responder(server)
    stanch.wait_until_noted()
    server.kill()
    for kind, count in (("incident.opened", 1), ("message.raised", 1), ("rescue.checked", 2)):
        stanch.wait_for_stored(kind, count=count)
        stanch.kill()
        stanch.start(ready=False)
    is_whole(stanch, server)
