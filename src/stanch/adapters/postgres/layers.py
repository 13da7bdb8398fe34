"""The layers of one probe as they are passed: timed, named, and closed at the one that fails."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from stanch.model.reach import Layer, LayerName, Reach, ReachState

_LOGIN_STATES: dict[ReachState, LayerName] = {
    ReachState.AUTH_FAILED: "auth",
    ReachState.NO_SUCH_DATABASE: "database",
}


class Ended(Exception):
    """The probe knows which it is."""

    def __init__(self, state: ReachState, detail: str, sqlstate: str | None = None) -> None:
        super().__init__(detail)
        self.state = state
        self.detail = detail
        self.sqlstate = sqlstate


class Trace:
    """The layers so far; the one under way when the deadline strikes is the one that failed."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._layer_began = self._began
        self.layers: list[Layer] = []
        self.current: LayerName | None = None
        self.server_version: str | None = None
        self.address = ""
        self.encrypted = False
        self.certificate_ends: datetime | None = None
        self.through_pooler = False
        self.in_turn = True
        """False while another login with the same credentials is waited for."""

    @contextmanager
    def layer(self, name: LayerName) -> Generator[list[str]]:
        """Times one layer; what is appended to the list becomes its detail."""
        self.current = name
        self._layer_began = time.monotonic()
        detail: list[str] = []
        yield detail
        self._close(name, ok=True, detail="; ".join(detail))
        self.current = None

    def fail(self, name: LayerName, detail: str) -> None:
        """The layer at which it ends; one that is under way before it went well."""
        done = [one.name for one in self.layers]
        if name in done:
            # The role is checked once more after authentication: that layer failed after all.
            del self.layers[done.index(name) :]
        elif self.current not in (None, name):
            self._close(self.current, ok=True, detail="")
        self._close(name, ok=False, detail=detail)
        self.current = None

    def restart_after_lookup(self) -> None:
        """Forget what came after the name was looked up: it is tried again in another way."""
        self.layers = [one for one in self.layers if one.name == "dns"]
        self.current = None

    def _close(self, name: LayerName, *, ok: bool, detail: str) -> None:
        ms = (time.monotonic() - self._layer_began) * 1000
        self.layers.append(Layer(name=name, ok=ok, ms=round(ms, 3), detail=detail))
        self._layer_began = time.monotonic()

    def reach(self, state: ReachState, sqlstate: str | None = None) -> Reach:
        """What was found, as of now."""
        return Reach(
            state=state,
            layers=tuple(self.layers),
            elapsed_ms=round((time.monotonic() - self._began) * 1000, 3),
            sqlstate=sqlstate,
            server_version=self.server_version,
            address=self.address,
            at=datetime.now(UTC),
            certificate_ends=self.certificate_ends,
            through_pooler=self.through_pooler,
        )

    def silent(self, limit_s: float, *, at: LayerName) -> Reach:
        """The deadline passed at the layer under way; `at` where none was."""
        layer = self.current or at
        waited = "no answer" if self.in_turn else "another login of ours was under way and not done"
        self.fail(layer, f"{waited} within {limit_s:g} s")
        if layer == "dns":
            return self.reach(ReachState.DNS_FAILURE)
        state = ReachState.TIMEOUT if layer == "tcp" else ReachState.HUNG
        return replace(self.reach(state), in_turn=self.in_turn)

    def ended(self, ended: Ended) -> Reach:
        """The finding, with the layer that the server's code belongs to as the failed one."""
        under_way = self.current or "startup"
        at = _LOGIN_STATES.get(ended.state, under_way) if ended.sqlstate else under_way
        self.fail(at, ended.detail)
        return self.reach(ended.state, ended.sqlstate)
