"""Another machine as far as packets are concerned: a network namespace whose firewall we own."""

from __future__ import annotations

import os
import shutil
import subprocess
from types import TracebackType
from typing import Self


def possible() -> bool:
    """Whether this machine lets us make one: root, iproute2 and iptables."""
    return os.geteuid() == 0 and all(map(shutil.which, ("ip", "iptables")))


class FarMachine:
    """Entering makes it and the link to it; leaving removes both."""

    def __init__(self) -> None:
        number = os.getpid()
        self.name = f"stanchb{number}"
        self._subnet = f"10.233.{number % 200 + 20}"
        self._outer, self._inner = f"sbo{number}", f"sbi{number}"

    @property
    def address(self) -> str:
        return f"{self._subnet}.2"

    @property
    def enter(self) -> tuple[str, ...]:
        """The command that runs another one inside."""
        return (shutil.which("ip") or "ip", "netns", "exec", self.name)

    def drop_packets(self, *, dropped: bool) -> None:
        """Take every packet in and answer none, or let them through again."""
        change = "-A" if dropped else "-D"
        _run(*self.enter, "iptables", change, "INPUT", "-p", "tcp", "-j", "DROP")

    def __enter__(self) -> Self:
        _run("ip", "netns", "add", self.name)
        try:
            self._link()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _link(self) -> None:
        name, outer, inner = self.name, self._outer, self._inner
        _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        _run("ip", "link", "set", inner, "netns", name)
        _run("ip", "addr", "add", f"{self._subnet}.1/24", "dev", outer)
        _run("ip", "link", "set", outer, "up")
        _run("ip", "-n", name, "addr", "add", f"{self.address}/24", "dev", inner)
        _run("ip", "-n", name, "link", "set", inner, "up")
        _run("ip", "-n", name, "link", "set", "lo", "up")

    def _remove(self) -> None:
        subprocess.run(["ip", "link", "del", self._outer], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)
