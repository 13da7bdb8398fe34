"""A killed server, from the kill to the post-mortem."""

from __future__ import annotations

import os
import signal
import time

import psycopg
import pytest

from fix_responder import MakeResponder
from fix_servers import MakeServer
from stanch.adapters.postgres.load import Load
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = pytest.mark.story


def starts(server: ScratchServer) -> int:
    """How often a postmaster of this server has begun."""
    return server.log_text().count("starting PostgreSQL")


def test_a_killed_server_is_noticed_named_started_proven_and_written_up(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    # Everybody waits for the disk, so that what was confirmed must be there afterwards.
    server = make_server(conf={"fsync": True})
    stanch = make_responder(server)
    with Load(server.dsn("app")) as load:
        assert load.wait_for_rows(50, timeout_s=10)
        server.kill()
        page = stanch.wait_for_mail(lambda m: "server down" in m.subject, "of the page")
        assert load.wait_for_success_after_failure(timeout_s=20)
        seen = stanch.wait_for_status("resolved")
        report = load.stop()
    assert page.recipients == ("ann@example.com",)
    assert "stanch ack 001" in page.text
    # In the page itself, or right behind it where the machine was too busy to look in time.
    stanch.wait_for_mail(lambda m: "The server was killed" in m.text, "that names the cause")

    assert seen["diagnosis"]["cause"] == "killed"
    assert len(stanch.incidents()) == 1
    assert stanch.started_actions() == ["start_server"]
    assert starts(server) == 2
    [rescued] = stanch.events("incident.rescued")
    assert rescued["window_s"] >= 1.0
    assert rescued["checks"] >= 2
    [resolved] = stanch.events("incident.resolved")
    assert resolved["verified"] is True
    [(rows,)] = server.query("SELECT count(*) FROM load_row", dbname="app")
    assert rows >= report.committed_rows

    for news in ("serves again", "resolved"):
        told = stanch.wait_for_mail(lambda m, news=news: news in m.subject, f"that says: {news}")
        assert "ann@example.com" in told.recipients
    threads = {m.content["References"] or m.message_id for m in stanch.box.mails}
    assert len(threads) == 1

    written = stanch.cli("postmortem", "1")
    assert written.status == 0
    for heading in ("Summary", "Impact", "Timeline", "Root cause", "Resolution", "Action items"):
        assert f"\n## {heading}" in written.out, written.out
    assert "The server was killed" in written.out
    assert r"pg\_ctl started it" in written.out
    assert stanch.call("timeline", "verify").status == 0


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_crash_that_the_log_told_of_does_not_keep_a_server_that_serves_again_from_being_rescued(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(conf={"restart_after_crash": False})
    stanch = make_responder(server)

    def log_is_read() -> bool:
        return "log_class_total" in stanch.cli("recorder", "show", "orders", "--json").out

    stanch.wait_for(log_is_read, what="its log being read")
    with psycopg.connect(server.dsn("app")) as session:
        os.kill(session.info.backend_pid, signal.SIGSEGV)
        stanch.wait_for_status("resolved")
    told = [*stanch.events("incident.opened"), *stanch.events("symptom.observed")]
    assert {"server_down", "process_crashed"} == {body["symptom"]["kind"] for body in told}
    assert stanch.started_actions() == ["start_server"]
    # Not told again by what still stands for a while.
    time.sleep(3)
    [incident] = stanch.incidents()
    assert incident["status"] == "resolved"


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_planned_restart_inside_page_after_pages_nobody(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server()
    watching_only = {"page_after": "8s", "actions": {}, "desired": "unmanaged"}
    stanch = make_responder(server, target=watching_only)
    server.stop("fast")
    stanch.wait_for(stanch.incidents, what="it is seen and recorded")
    server.start()
    ended = stanch.wait_for_status("resolved")
    assert [e["self_healed"] for e in stanch.events("incident.resolved")] == [True]
    assert "message.raised" not in stanch.kinds()
    assert stanch.subjects() == []
    assert ended["plan"] is None


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_planned_restart_is_not_got_in_the_way_of_by_a_responder_that_may_act(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server()
    stanch = make_responder(server, target={"page_after": "8s"})
    server.restart("fast")

    def over() -> bool:
        """Also where it was so quick that nothing was seen of it."""
        return all(incident["status"] == "resolved" for incident in stanch.incidents())

    stanch.wait_for(lambda: stanch.ready() and over(), what="watching, and nothing open")
    time.sleep(1)
    stanch.wait_for(over, what="nothing open")
    assert stanch.subjects() == []
    assert starts(server) == 2


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_stop_that_outlasts_page_after_is_paged(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server()
    stanch = make_responder(
        server, target={"page_after": "2s", "actions": {}, "desired": "unmanaged"}
    )
    server.stop("fast")
    stanch.wait_for_mail(lambda m: "server down" in m.subject, "of the page")
    [opened] = stanch.events("incident.opened")
    assert opened["page_after_s"] == 2.0
    shown = stanch.show()
    at = {e["kind"]: e["at"] for e in reversed(shown["timeline"])}
    assert at["message.raised.v1"] > at["incident.opened.v1"]
    server.start()
    stanch.wait_for_mail(lambda m: "resolved" in m.subject, "that it is over")
