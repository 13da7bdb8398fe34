"""Object storage for tests: a server that speaks S3, with what a test does with it from outside.

`s3`  one server a test process; every test has a bucket of its own
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3
import pytest
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from stanch.policy.backups import S3Bucket

ACCOUNT = "123456789012"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """One bucket, and how a policy names it."""

    client: Any
    where: S3Bucket

    def put(self, key: str, content: bytes = b"x", *, at: datetime | None = None) -> None:
        """An object, written past the wire, and as if it had been written then."""
        backend: Any = s3_backends[ACCOUNT]["aws"]
        made = backend.put_object(self.where.bucket, key, content)
        if at is not None:
            made.last_modified = at.replace(tzinfo=None)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_client(s3_server: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=s3_server,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@pytest.fixture
def s3(s3_server: str, s3_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    # The same file for all, so that they share a client.
    file = tmp_path_factory.getbasetemp() / "s3-credentials"
    file.write_text("[stanch]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
    bucket = f"backups-{next(_numbers)}"
    s3_client.create_bucket(Bucket=bucket)
    where = S3Bucket(
        name="offsite",
        bucket=bucket,
        prefix="orders/",
        wal_prefix="orders-wal/",
        endpoint=s3_server,
        profile="stanch",
        credentials_file=str(file),
    )
    return Storage(client=s3_client, where=where)
