"""A journal that hangs while a responder starts is waited for; one that hangs later is not."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from structlog.testing import capture_logs

from stanch.model.events import ResponderStarted
from stanch.service.clock import MachineBootClock
from stanch.service.core import Core
from stanch.service.house import open_house, open_store, read_policy_file, say_that_it_waits
from stanch.store.spool import Spool
from stanch.store.timelines import ANSWER_S_MAX, STARTING_ANSWER_S_MAX, StoreThread
from stanch.store.transaction import Tx

POLICY = """
state_directory: {state}
people: {{ann: {{name: Ann}}}}
ladder: [ann]
channels: {{screen: {{type: terminal}}}}
targets: {{orders: {{dsn: service=orders}}}}
"""


def logged(store: StoreThread) -> list[str]:
    with capture_logs() as lines:
        say_that_it_waits(store)
    return [line["event"] for line in lines]


async def test_a_journal_that_hangs_at_the_start_is_waited_for_and_said_to_be(
    tmp_path: Path,
) -> None:
    config, state = tmp_path / "stanch.yaml", tmp_path / "state"
    config.write_text(POLICY.format(state=state))
    policies = read_policy_file(config)
    store = open_store(policies, threaded=True)
    assert isinstance(store, StoreThread)
    free, spool = threading.Event(), Spool(tmp_path / "spool")

    def hang(tx: Tx) -> None:
        free.wait()

    async def start() -> None:
        house = await open_house(policies, store)
        core = Core(
            house,
            boot=MachineBootClock(),
            ports={},
            spool=spool,
            hands=lambda _: None,
            runbooks=(),
            on_failure=lambda _: None,
            on_store_failure=lambda: None,
        )
        hashed = policies.current_hash
        await core.resume(ResponderStarted(version="", host="", pid=1, policy_hash=hashed))

    hanging = asyncio.ensure_future(store.write(hang))
    starting = asyncio.ensure_future(start())
    while not store.waiting:
        await asyncio.sleep(0.001)
    assert store.answer_s == STARTING_ANSWER_S_MAX > ANSWER_S_MAX
    assert logged(store) == ["nothing is watched yet: the journal does not answer"]
    free.set()
    await asyncio.gather(hanging, starting)
    assert store.answer_s == ANSWER_S_MAX
    assert logged(store) == []
    spool.close()
    await store.close()
