"""Where a server lives while its files do not answer."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from stanch.adapters.postgres.scratch import free_port
from stanch.model.diagnosis import Missing
from stanch.model.ids import TargetName
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.home import HomeFinder


async def test_a_dead_mount_is_an_empty_home_until_it_answers_and_is_looked_at_once(
    tmp_path: Path,
) -> None:
    """A pipe without a writer: whoever opens it waits, as for a file on a dead mount."""
    (tmp_path / "PG_VERSION").write_text("15")
    os.mkfifo(tmp_path / "postmaster.pid")
    os.mkfifo(tmp_path / "current_logfiles")
    policy = TargetPolicy(
        name=TargetName("orders"),
        dsn=f"host=127.0.0.1 port={free_port()} user=x",
        host="local",
        data_directory=str(tmp_path),
    )
    finder = HomeFinder(within_s=0.2)
    before = threading.active_count()
    for _ in range(4):
        home = await finder.find(policy)
        assert home.late
        assert isinstance(home.located.host, Missing)
        assert "dead mount" in home.located.host.reason
    assert threading.active_count() <= before + 2
    for name in ("postmaster.pid", "current_logfiles"):
        # Whoever waits gets an empty file.
        with suppress(OSError):
            os.close(os.open(tmp_path / name, os.O_WRONLY | os.O_NONBLOCK))
        (tmp_path / name).unlink()
    async with asyncio.timeout(10):
        while (home := await finder.find(policy)).late:
            await asyncio.sleep(0.05)
    assert home.data_directory == str(tmp_path)
    again = replace(home, late=True)
    assert again.shows_less_than(home), "what was found stays"
