"""People in an incident: declaring, taking, paged in turn, approving, halting, planned work."""

from __future__ import annotations

import re
import time

import pytest

from fix_responder import ACT, MakeResponder, severities
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = pytest.mark.story


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_an_incident_a_person_declared_lives_by_what_people_say(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    said = stanch.call("declare", "orders are slow", "--target", "orders", "--severity", "P1")
    assert said.status == 0, said
    page = stanch.wait_for_mail(lambda m: "orders are slow" in m.subject, "of the page")
    assert page.recipients == ("ann@example.com",)

    assert "acknowledged" in stanch.call("ack", "1").out
    stanch.cli("note", "1", "\x1b[2Jrm -rf / <b>; the index is bloated")
    assert "P0" in stanch.cli("severity", "1", "P0", "--reason", "customers call").out
    assert "resolved" in stanch.cli("resolve", "1", "--reason", "reindexed").out
    again = stanch.call("resolve", "1", "--reason", "twice")
    assert again.status == 1
    assert "already resolved" in again.err
    assert "reopened" in stanch.cli("reopen", "1", "--reason", "slow again").out
    reopened = stanch.show()
    assert reopened["status"] == "open"
    assert reopened["severity"] == "P0"
    shown = stanch.cli("show", "1").out
    assert "\x1b" not in shown
    assert "the index is bloated" in shown
    unknown = stanch.call("declare", "x", "--target", "nowhere")
    assert unknown.status == 1
    assert "no target 'nowhere'" in unknown.err
    assert stanch.call("ack", "77").status == 1
    assert stanch.json("incidents", "--all")[0]["title"] == "orders are slow"


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_who_does_not_answer_is_followed_by_the_next_until_somebody_does(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(
        server, target={"actions": {}}, policy={"severities": severities(ack_within="2s")}
    )
    server.stop("fast")
    stanch.wait_for_mail(lambda m: "ann@example.com" in m.recipients, "to Ann")
    bo = stanch.wait_for_mail(lambda m: "bo@example.com" in m.recipients, "to Bo")
    assert "server down" in bo.subject
    first, second = stanch.events("message.raised")[0], stanch.events("message.raised")[1]
    assert first["persons"] == ["ann"]
    assert "ann" not in second["persons"] or second["message_kind"] == "update"

    assert stanch.call("ack", "1", "--as", "bo").status == 0
    told = stanch.wait_for_mail(
        lambda m: "bo" in m.subject.casefold() and "ann@example.com" in m.recipients,
        "to Ann that Bo has it",
    )
    assert told.content["In-Reply-To"] or told.content["References"]
    pages = [m for m in stanch.events("message.raised") if m["message_kind"] == "page"]
    # Long enough for two more levels, if anybody were still paged.
    time.sleep(5)
    later = [m for m in stanch.events("message.raised") if m["message_kind"] == "page"]
    assert len(later) == len(pages)


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_plan_waits_for_exactly_the_approval_it_asked_for(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server, target={"actions": dict.fromkeys(ACT, "advise")})
    server.kill()
    asked = stanch.wait_for_mail(lambda m: "stanch approve" in m.text, "that asks for approval")
    [command] = set(re.findall(r"stanch approve (\S+) (\S+)", asked.text))
    assert asked.text.count("Start the server of")
    assert stanch.started_actions() == []

    wrong = stanch.call("approve", command[0], "0" * 12)
    assert wrong.status == 1
    assert "the plan changed since it was shown" in wrong.err
    assert "stanch show" in wrong.err
    waiting = stanch.call("show", "1").out
    assert f"stanch approve {command[0]} {command[1]}" in waiting
    assert stanch.started_actions() == []

    right = stanch.cli("approve", *command)
    assert right.status == 0, right
    stanch.wait_for_status("resolved")
    assert stanch.started_actions() == ["start_server"]
    [approved] = stanch.events("plan.approved")
    assert approved["by"] == "ann"
    assert approved["digest"].startswith(command[1])
    late = stanch.call("approve", *command)
    assert late.status == 1


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_halt_stops_all_acting_within_a_second_and_survives_a_restart(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    stanch.wait_until_noted()
    assert "halted" in stanch.cli("halt", "--reason", "we are migrating").out
    server.kill()
    page = stanch.wait_for_mail(lambda m: "server down" in m.subject, "of the page")
    assert page
    stanch.wait_for_event("diagnosis.recorded")
    time.sleep(2)
    assert stanch.started_actions() == []
    assert server.postmaster_pid() is None

    assert stanch.stop() == 0
    stanch.start(ready=False)
    stanch.wait_for(lambda: stanch.health("healthz") == 200, what="it answers")
    time.sleep(2)
    assert stanch.started_actions() == []
    assert server.postmaster_pid() is None

    assert stanch.call("halt", "--lift", "--reason", "migrated").status == 0
    stanch.wait_for_status("resolved")
    assert stanch.started_actions() == ["start_server"]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_planned_work_pages_nobody_and_what_outlasts_it_does(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server, target={"actions": {}, "desired": "unmanaged"})
    said = stanch.cli("maintenance", "orders", "--for", "1h", "--reason", "minor upgrade")
    assert said.status == 0, said
    server.stop("fast")
    stanch.wait_for_event("diagnosis.recorded")
    time.sleep(1)
    assert stanch.subjects() == []
    assert stanch.show()["status"] == "open"
    assert stanch.call("maintenance", "orders", "--end").status == 0
    stanch.wait_for_mail(lambda m: "server down" in m.subject, "once the work is over")
    server.start()
    stanch.wait_for_status("resolved")
