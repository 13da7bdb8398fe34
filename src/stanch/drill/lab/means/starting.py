"""Servers that go down and do not come back, and those that do: kills, starts, attempts in vain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.rig import Rig
from stanch.model.errors import SetupError

READY = "database system is ready to accept connections"
RECOVERY_S = 60.0


def killed(rig: Rig) -> int:
    """SIGKILL for the postmaster; its PID, once the last of its children has left as well."""
    pid = rig.server.kill()
    rig.until(lambda: not rig.server.processes())
    return pid


def does_not_start(rig: Rig, *words: str, leaving_s_max: float = 10.0) -> None:
    """Somebody tries to start it, up to three times, and is told some of these words.

    Raises: NotMade where it starts, or fails for another reason.
    """
    for _ in range(rig.rng.randint(1, 3)):
        try:
            rig.server.start(leaving_s_max=leaving_s_max)
        except SetupError as error:
            if not any(some in str(error) for some in words):
                raise NotMade(f"it fails to start otherwise than meant: {error}") from error
        else:
            raise NotMade("the server starts all the same")


def does_not_restart(rig: Rig, *words: str) -> None:
    """Somebody restarts it in order, and it stays down. Raises: NotMade."""
    rig.server.stop("fast")
    does_not_start(rig, *words)


def recovers_from(rig: Rig, act: Callable[[], object], says: str) -> None:
    """Do it, and wait until the server has said so, has started itself anew, and serves.

    Raises: NotMade
    """
    seen = rig.server.log_text().count(READY)
    act()
    rig.logged(says)
    rig.until(lambda: rig.server.log_text().count(READY) > seen, seconds=RECOVERY_S)
    rig.until("SELECT 1")


def enclose(rig: Rig, *enter: str, innermost: bool = False) -> None:
    """From now on the server runs inside this as well; restarted, so before anybody watches."""
    options = rig.server.options
    entered = (*options.enter, *enter) if innermost else (*enter, *options.enter)
    rig.server.options = replace(options, enter=entered)
    rig.server.stop()
    # It has been like that from the start, for whoever comes: nobody stopped anything.
    rig.server.log_path.unlink(missing_ok=True)
    rig.server.start()
