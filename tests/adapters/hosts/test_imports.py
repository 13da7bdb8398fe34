"""Large libraries are read beside the event loop: nobody else may wait for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, sys, threading

from stanch.adapters.hosts.{link} import {name} as Link
from stanch.policy.hosts import KubernetesHost, SshHost

where = set()

def note(event, args):
    if event == "import" and args[0].split(".")[0] == "{library}":
        where.add("loop" if threading.current_thread() is threading.main_thread() else "thread")

async def main():
    sys.addaudithook(note)
    print(await Link({host}).{look})

asyncio.run(main())
print(sorted(where))
"""


@pytest.mark.parametrize(
    ("library", "link", "name", "host", "look"),
    [
        (
            "asyncssh",
            "ssh_link",
            "SshLink",
            "SshHost(host='127.0.0.1', port=1, known_hosts='/dev/null')",
            "run('true', bytes_max=1, deadline_s=1)",
        ),
        (
            "kubernetes_asyncio",
            "kubernetes_link",
            "KubernetesLink",
            "KubernetesHost(namespace='a', pod='b', kubeconfig='/none')",
            "pod()",
        ),
    ],
    ids=("ssh", "kubernetes"),
)
def test_a_library_is_first_read_in_a_thread(
    library: str, link: str, name: str, host: str, look: str
) -> None:
    script = SCRIPT.format(library=library, link=link, name=name, host=host, look=look)
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout.splitlines()[-1:] == ["['thread']"], ran.stdout + ran.stderr
