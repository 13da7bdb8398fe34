"""Commands reach Stanch while it runs, while it is down and while it hangs; and it reads its policy
again when told to."""

from __future__ import annotations

import signal
import time

import pytest

from fix_responder import MakeResponder
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = pytest.mark.story


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_commands_work_while_it_is_down_and_say_so_and_it_goes_on_from_there(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    assert stanch.stop() == 0
    said = stanch.cli("declare", "seen by a person", "--target", "orders", "--severity", "P0")
    assert said.status == 0, said
    assert "directly to the store" in said.err
    listed = stanch.cli("incidents")
    assert "seen by a person" in listed.out
    assert stanch.box.mails == (), "nobody runs who could page"

    stanch.start()
    stanch.wait_for_mail(lambda m: "seen by a person" in m.subject, "of the page, once it runs")
    assert "directly to" not in stanch.cli("ack", "1").err
    assert stanch.show()["acknowledged_by"] == "ann"


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_command_for_a_hung_one_waits_in_its_inbox_and_is_done_once(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    stanch.pause()
    said = stanch.cli("declare", "while it hung", "--target", "orders")
    assert said.status == 0, said
    assert "left in its inbox" in said.err
    waiting = [p for p in (stanch.state / "inbox").iterdir() if p.suffix == ".json"]
    assert len(waiting) == 1
    stanch.resume()
    stanch.wait_for_mail(lambda m: "while it hung" in m.subject, "of the page")
    # The socket had taken the request as well before the command gave up waiting.
    time.sleep(1.5)
    assert [i["title"] for i in stanch.incidents()] == ["while it hung"]
    done = stanch.state / "inbox" / "done"
    assert len(list(done.glob("*.result"))) == 1
    assert "stopped_cleanly" not in str(stanch.incidents()), "nor is its own sleep an outage"


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_reload_takes_a_valid_policy_and_keeps_the_old_one_instead_of_an_invalid_one(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server, target={"actions": {}})
    good = stanch.config.read_text()
    stanch.config.write_text(good.replace("ladder:", "laddder:"))
    stanch.signal(signal.SIGHUP)
    stanch.wait_for(lambda: "the old one stays" in stanch.log_text(), what="it says so")
    assert "laddder" in stanch.log_text()
    assert stanch.alive

    # Watched and paged all the same, by the policy it has.
    stanch.write_policy({**stanch.policy, "ladder": ["bo", "ann"]})
    stanch.change_target(actions={"start_server": "act"})
    stanch.signal(signal.SIGHUP)
    stanch.wait_for(lambda: "policy reloaded" in stanch.log_text(), what="it says so")
    stanch.wait_for(stanch.ready, what="watching by the new policy")
    stanch.wait_until_noted()
    server.kill()
    page = stanch.wait_for_mail(lambda m: "server down" in m.subject, "of the page")
    assert page.recipients == ("bo@example.com",)
    stanch.wait_for_status("resolved")
    assert stanch.started_actions() == ["start_server"]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_target_that_a_reload_takes_out_stands_in_no_metric_any_more(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    stanch.wait_for(lambda: 'age_seconds{target="orders"}' in stanch.metrics(), what="it is seen")
    renamed = {"shop": stanch.policy["targets"]["orders"]}
    stanch.write_policy({**stanch.policy, "targets": renamed})
    stanch.signal(signal.SIGHUP)
    stanch.wait_for(lambda: 'age_seconds{target="shop"}' in stanch.metrics(), what="the new one")
    assert 'target="orders"' not in stanch.metrics()


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_told_to_end_it_ends_cleanly_and_leaves_nothing_behind(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'stanch%'"
    stanch.wait_for(lambda: server.query(ours) >= [(2,)], what="both sessions are open")
    began = time.monotonic()
    assert stanch.stop() == 0
    assert time.monotonic() - began < 12
    assert server.query(ours) == [(0,)]
    assert not (stanch.state / "api.sock").exists()
    assert "Traceback" not in stanch.log_text()
    verified = stanch.cli("timeline", "verify")
    assert verified.status == 0
    assert "all verify" in verified.out
