"""Signs that we, or a data directory, live in a container."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from stanch.model.host import ContainerSigns

_RUNTIME = re.compile(r"docker|containerd|kubepods|libpod|crio|lxc|podman|machine\.slice")
_VOLUMES = (
    "/var/lib/docker/",
    "/var/lib/containers/",
    "/var/lib/kubelet/",
    "/var/lib/containerd/",
    "/var/lib/lxc/",
)
_MARKERS = ("/.dockerenv", "/run/.containerenv")
_INITIAL = (("pid", "pid:[4026531836]"), ("ipc", "ipc:[4026531839]"))
"""The kernel gives its first namespaces these numbers, on every Linux since 3.8."""


def read_signs(
    data_directory: str, proc: Path, *, root: Path, server_pid: int | None
) -> ContainerSigns:
    """Whether a lock file here could have been written inside a container.

    What makes a lock file worthless is another PID or IPC namespace, so the kernel's answer about
    those decides; marker files count only outside the initial namespaces, because a virtual
    machine whose disk was made from an image still carries them. `root` is the machine's root
    folder. What cannot be read leaves the question open.
    """
    real = f"{os.path.realpath(data_directory)}/"
    signs = [f"the data directory is under {top}" for top in _VOLUMES if real.startswith(top)]
    unsure = False
    if server_pid is not None:
        found = _server_signs(proc, server_pid)
        unsure = found is None
        signs += found or ()
    initial = _in_initial_namespaces(proc)
    if initial is False:
        signs.append("this process is not in the machine's own PID and IPC namespaces")
        signs += [f"{name} exists" for name in _MARKERS if (root / name.lstrip("/")).exists()]
    if signs:
        return ContainerSigns(in_container=True, signs=tuple(signs))
    if sys.platform != "linux":
        return ContainerSigns(in_container=False)
    return ContainerSigns(in_container=None if unsure or initial is None else False)


def _in_initial_namespaces(proc: Path) -> bool | None:
    try:
        return all(os.readlink(proc / "self/ns" / kind) == first for kind, first in _INITIAL)
    except OSError:
        return None


def _server_signs(proc: Path, pid: int) -> list[str] | None:
    """Signs at the running server itself; None: it may not be inspected."""
    try:
        signs = [
            f"the server has another {kind.upper()} namespace than we have"
            for kind, _ in _INITIAL
            if os.readlink(proc / str(pid) / "ns" / kind) != os.readlink(proc / "self/ns" / kind)
        ]
        groups = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = _RUNTIME.search(groups)
    if match is not None:
        signs.append(f"the server is in a control group of {match[0]}")
    return signs
