"""`stanch run` as a process of its own, and its answers: JSON over its socket, and a command.

Nothing is shared with it but its policy file and state directory, as with any user's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import httpx

from stanch.model.errors import SetupError
from stanch.store.statedir import StateDir

READY_S = 30.0
STOP_S = 15.0
COMMAND_S = 30.0
ASK_S = 3.0
POLL_S = 0.1


class ResponderProcess:
    """A running responder; `stop` it before the servers it watches, or it starts them again."""

    def __init__(self, folder: Path, *, listen: str) -> None:
        self.config = folder / "stanch.yaml"
        self.log = folder / "stanch.log"
        self._folder = folder
        self._listen = listen
        # One client for all questions: making one costs more than an answer.
        socket = str(StateDir(path=folder / "state").socket)
        # Neither speaks TLS, and reading certificates is most of what a client costs.
        transport = httpx.HTTPTransport(uds=socket, verify=False)
        self._client = httpx.Client(transport=transport, base_url="http://stanch", timeout=ASK_S)
        plain = httpx.HTTPTransport(verify=False)
        self._asking = httpx.Client(transport=plain, timeout=1.0)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it looks at every target.

        Raises: SetupError with the end of its log.
        """
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C is for the demonstration, which ends it in order.
            self._process = subprocess.Popen(
                self._command("run"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=_environment(),
                start_new_session=True,
            )
        end = time.monotonic() + READY_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                said = self.log.read_text("utf-8", "replace")[-2000:].strip()
                raise SetupError(f"stanch run is not ready:\n{said}", on=str(self.config))
            time.sleep(POLL_S)

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def stop(self) -> None:
        """End it in order, by force when that takes too long; safe to repeat."""
        self._client.close()
        self._asking.close()
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def incidents(self) -> list[dict[str, Any]]:
        """Every incident so far, newest first; empty while it does not answer."""
        return self._asked("/incidents", all="1").get("incidents", [])

    def incident(self, incident_id: str) -> dict[str, Any]:
        """What `stanch show --json` prints of one; empty while it does not answer."""
        return self._asked(f"/incidents/{incident_id}")

    def declare(self, title: str, *, target: str) -> None:
        """What `stanch declare` does."""
        self._said("declare", title, "--target", target)

    def write_post_mortem(self, incident_id: str, path: Path) -> None:
        """What `stanch postmortem` writes."""
        self._said("postmortem", incident_id, "--output", str(path))

    def _asked(self, path: str, **params: str) -> dict[str, Any]:
        try:
            answer = self._client.get(path, params=params)
        except httpx.HTTPError:
            return {}
        return cast("dict[str, Any]", answer.json()) if answer.is_success else {}

    def _said(self, *words: str) -> str:
        """Raises: SetupError with what the command said on standard error."""
        done = subprocess.run(
            self._command(*words),
            capture_output=True,
            text=True,
            start_new_session=True,
            errors="replace",
            timeout=COMMAND_S,
            check=False,
            cwd=self._folder,
            env=_environment(),
        )
        if done.returncode != 0:
            raise SetupError(f"stanch {words[0]} failed: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "stanch", *words, "--config", str(self.config)]

    def _is_ready(self) -> bool:
        try:
            answer = self._asking.get(f"http://{self._listen}/readyz")
        except httpx.HTTPError:
            return False
        return answer.status_code == 200


def _environment() -> dict[str, str]:
    """The caller's, without what would steer PostgreSQL clients or Stanch itself."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PG", "STANCH_"))}
