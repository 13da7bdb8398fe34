"""What is done before anybody is watched."""

from __future__ import annotations

import subprocess
import sys

WARM = """
import asyncio, sys, threading

from stanch.policy.backups import Backups, S3Bucket
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.backups import prepare

where = set()

def note(event, args):
    if event == "import" and args[0].split(".")[0] == "botocore":
        where.add("loop" if threading.current_thread() is threading.main_thread() else "thread")

def target(*s3):
    return TargetPolicy(name="a", dsn="host=a", backups=Backups(s3=s3))

async def main():
    sys.addaudithook(note)
    await prepare([target()])
    print(sorted(where))
    await prepare([target(), target(S3Bucket(name="off", bucket="b"))])
    print(sorted(where))

asyncio.run(main())
"""


def test_the_library_of_object_storage_is_read_beside_the_loop_and_only_where_it_is_needed() -> (
    None
):
    ran = subprocess.run(
        [sys.executable, "-c", WARM], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout.splitlines() == ["[]", "['thread']"], ran.stdout + ran.stderr
