"""`stanch run`: the core process."""

from __future__ import annotations

import asyncio
import gc
import signal
from pathlib import Path
from typing import Annotated

import typer

from stanch.cli.reaching import DEFAULT_CONFIG, ConfigOption

COLLECT_AFTER = 20_000
"""So many objects more than before wake the collector. With the default, 700, four hundred targets
woke it 2.5 times a second, for up to 9 ms; with this, not once in 25 s, for 2 MB of memory."""
SPARE_AGAIN_S = 30.0
"""At a thousand targets a walk over all of them held the loop for 70 to 170 ms."""


def register(app: typer.Typer) -> None:
    app.command()(run)


def run(
    config: ConfigOption = DEFAULT_CONFIG,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log lines as JSON, for log collectors.")
    ] = False,
) -> None:
    """Watch, diagnose, page and act until told to stop.

    SIGTERM and Ctrl-C end it cleanly; SIGHUP reads the policy again (an invalid file keeps the old
    one and says so). One `stanch run` at a time may use a state directory.
    """
    from stanch.cli.logging import set_up_logging

    set_up_logging(as_json=log_json)
    asyncio.run(_run(config))


async def _run(config: Path) -> None:
    from stanch.service.house import open_store, read_policy_file, say_that_it_waits, state_path
    from stanch.service.responder import open_responder
    from stanch.store.spool import Spool
    from stanch.store.statedir import StateDir
    from stanch.store.timelines import ANSWER_S_MAX

    policies = read_policy_file(config)
    store = open_store(policies, threaded=True)
    spool = Spool(StateDir(path=state_path(policies)).spool)
    try:
        loop = asyncio.get_running_loop()
        loop.call_later(ANSWER_S_MAX, say_that_it_waits, store)
        responder = await open_responder(config, policies, store, spool)
        reloads: set[asyncio.Task[str]] = set()

        def reload() -> None:
            task = loop.create_task(responder.reload())
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, responder.stop)
        loop.add_signal_handler(signal.SIGHUP, reload)
        _spare_the_loop()
        # Sessions and what is known of each target are there by then, and stay.
        spared = loop.call_later(SPARE_AGAIN_S, _spare_the_loop)
        try:
            await responder.run()
        finally:
            spared.cancel()
    finally:
        spool.close()
        await store.close()


def _spare_the_loop() -> None:
    """Keep the collector from walking over everything that was loaded and stays for good.

    It holds the loop while it does, and each walk drives out of the processor's cache what the next
    look at a target needs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
