"""A name server of the rig's own, which only the rig and those who look at it ask.

`/etc/resolv.conf` is another one for the calling thread and for all processes and threads that it
starts from then on: a mount namespace has its own. Nothing on the machine itself changes.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

from psycopg.conninfo import make_conninfo

from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.rig import Rig

PROGRAMS = ("mount",)

CLONE_NEWNS = 0x00020000
BACK_S = 20.0

A, IN = 1, 1
NO_ERROR, NO_SUCH_NAME = 0, 3
TTL_S = 5


def zone(rig: Rig) -> Path:
    """Lines `name address`, read for each question; without the file nobody gets an answer."""
    return rig.server.folder.path / "zone"


def by_name(rig: Rig, name: str) -> None:
    """Have everybody reach the server under a name, which a name server of the rig's own knows."""
    zone(rig).write_text(f"{name} 127.0.0.1\n")
    address = f"127.{rig.rng.randint(1, 254)}.{rig.rng.randint(0, 254)}.{rig.rng.randint(2, 254)}"
    _serve(rig, address)
    resolv = rig.server.folder.path / "resolv.conf"
    resolv.write_text(f"nameserver {address}\noptions timeout:1 attempts:1\n")
    resolv.chmod(0o644)
    _enter_own_mounts(rig)
    done = subprocess.run(
        ["sh", "-c", 'mount --make-rprivate / && mount --bind "$0" /etc/resolv.conf', str(resolv)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise NotMade(f"no resolv.conf of our own: {done.stderr.strip()}")
    rig.dsn = make_conninfo(rig.dsn, host=name)
    rig.way |= {"host": name}
    rig.until("SELECT 1")


def _enter_own_mounts(rig: Rig) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    here, folder = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY), Path.cwd()
    if libc.unshare(CLONE_NEWNS) != 0:
        os.close(here)
        raise NotMade(f"no mount namespace: {os.strerror(ctypes.get_errno())}")

    def back() -> None:
        # Refused while threads that were started from this one are still about to end.
        end = time.monotonic() + BACK_S
        while libc.setns(here, CLONE_NEWNS) != 0 and time.monotonic() < end:
            time.sleep(0.02)
        os.close(here)
        os.chdir(folder)

    rig.undo(back)


# --- the name server ----------------------------------------------------------------------------


def _serve(rig: Rig, address: str) -> None:
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        wire.bind((address, 53))
    except OSError as error:
        wire.close()
        raise NotMade(f"no name server on {address}: {error}") from error
    wire.settimeout(0.2)
    ending, records = threading.Event(), zone(rig)

    def answer_all() -> None:
        while not ending.is_set():
            try:
                question, asker = wire.recvfrom(512)
                if records.exists():
                    wire.sendto(answer(question, records.read_text()), asker)
            except (OSError, IndexError, struct.error, ValueError):
                # Nobody asked just now, whoever asked has left, or it was no question.
                continue
        wire.close()

    thread = threading.Thread(target=answer_all, daemon=True)
    thread.start()
    rig.undo(thread.join)
    rig.undo(ending.set)


def answer(question: bytes, records: str) -> bytes:
    """The answer to one packet with one question, as RFC 1035 has it."""
    name, end = _asked(question)
    (kind,) = struct.unpack_from("!H", question, end)
    known = dict(line.split() for line in records.splitlines())
    address = known.get(name)
    found = address is not None and kind == A
    record = b""
    if found:
        # The name as a pointer to where the question has it.
        record = struct.pack("!HHHIH", 0xC00C, A, IN, TTL_S, 4) + socket.inet_aton(str(address))
    code = NO_ERROR if address is not None else NO_SUCH_NAME
    # A response, recursion wanted and to be had.
    flags = 0x8180 | code
    head = question[:2] + struct.pack("!HHHHH", flags, 1, int(found), 0, 0)
    return head + question[12 : end + 4] + record


def _asked(question: bytes) -> tuple[str, int]:
    """The name, and where it ends."""
    at, labels = 12, list[str]()
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += length + 1
    return ".".join(labels), at + 1
