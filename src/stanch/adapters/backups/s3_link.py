"""Object storage that speaks S3: a client a set of credentials, and errors in a person's words.

Needs the extra `s3` (boto3). Everything here blocks; it is called in a thread.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from threading import Lock
from typing import Any, Final

from stanch.model.diagnosis import Missing
from stanch.policy.backups import S3Bucket

CONNECT_S: Final = 5.0
READ_S: Final = 10.0
TRIES: Final = 2
LISTING_S: Final = 50.0
"""For all pages together: a look that takes longer is none."""
OBJECTS_MAX: Final = 2_000_000
PAGE: Final = 1000
SMALL_BYTES: Final = 65_536

_lock = Lock()
_sessions: dict[tuple[str, str], Any] = {}
_clients: dict[tuple[str, str, str, str], Any] = {}
"""Shared by all places: a client with a session of its own would take 13 MB."""
_loaders: list[Any] = []
"""The one that every session has: what it reads holds the whole process for up to 75 ms."""

_MEANINGS: Final = {
    "RequestTimeTooSkewed": "the clock of this machine is too far from that of the storage",
    "NoSuchBucket": "there is no such bucket",
    "InvalidAccessKeyId": "the storage does not know these credentials",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the session token is wrong",
    "AccessDenied": "these credentials may not do that",
    "AllAccessDisabled": "these credentials may not do that",
    "AuthorizationHeaderMalformed": "the region is wrong",
    "PermanentRedirect": "the bucket is in another region",
    "IllegalLocationConstraintException": "the bucket is in another region",
    "SlowDown": "the storage asks for fewer requests",
}
REFUSED: Final = frozenset({"AccessDenied", "AllAccessDisabled", "Forbidden", "403"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A client with the names of what it raises."""

    client: Any
    errors: tuple[type[Exception], ...]


class S3Link:
    """Asks for one bucket. Never: writes, or deletes."""

    def __init__(self, where: S3Bucket, *, page: int = PAGE) -> None:
        self.where = where
        self._page = page

    @property
    def source(self) -> str:
        return f"s3 {self.where.name}"

    def open(self) -> Asked | Missing:
        """The client; nothing is sent yet."""
        try:
            exceptions: Any = importlib.import_module("botocore.exceptions")
            importlib.import_module("boto3")
        except ImportError:
            return self._missing("needs stanch[s3]: pip install 'stanch[s3]'")
        errors = (exceptions.BotoCoreError, exceptions.ClientError, ValueError, OSError)
        try:
            with _lock:
                return Asked(client=self._client(), errors=errors)
        except errors as error:
            return self.failed(error)

    def objects(self, asked: Asked, prefix: str) -> Iterator[Any]:
        """Every object of a prefix, a page at a time.

        Raises: `Late` and `NoListing`, beside what the client raises.
        """
        until_s, token, seen = time.monotonic() + LISTING_S, "", 0
        while True:
            more = {"ContinuationToken": token} if token else {}
            page = asked.client.list_objects_v2(
                Bucket=self.where.bucket, Prefix=prefix, MaxKeys=self._page, **more
            )
            if "IsTruncated" not in page:
                raise NoListing("what answers there does not speak S3")
            yield from map(_whole, page.get("Contents", ()))
            seen += self._page
            token = page.get("NextContinuationToken", "")
            if not page.get("IsTruncated") or not token:
                return
            if seen >= OBJECTS_MAX or time.monotonic() > until_s:
                raise Late(f"there are more than {seen} objects, too many to list in time")

    def read(self, asked: Asked, key: str, *, span: str) -> bytes:
        """A part of one object, as HTTP's Range names it; never more than 8 MiB are asked for."""
        said = asked.client.get_object(Bucket=self.where.bucket, Key=key, Range=f"bytes={span}")
        body: bytes = said["Body"].read()
        return body

    def failed(self, error: Exception) -> Missing:
        """What an error means, with the storage's own word for it."""
        code = code_of(error)
        if code in ("InvalidAccessKeyId", "ExpiredToken", "SignatureDoesNotMatch"):
            # The next look reads the files anew, in which somebody may have corrected them.
            self._forget()
        if code:
            told = getattr(error, "response", {}).get("Error", {}).get("Message", "")
            meaning = _MEANINGS.get(code, str(told)[:200] or "refused")
            return self._missing(f"{meaning} ({code})")
        self._forget()
        if isinstance(error, OSError) and error.errno is not None:
            return self._missing(f"{error.filename or ''}: {error.strerror}".lstrip(": "))
        return self._missing(_WORDS.get(type(error).__name__, "") or str(error)[:300])

    def _missing(self, reason: str) -> Missing:
        return Missing(what="backups", reason=f"{self.source}: {reason}")

    @property
    def _key(self) -> tuple[str, str, str, str]:
        where = self.where
        return where.endpoint, where.region, where.profile, where.credentials_file

    def _forget(self) -> None:
        with _lock:
            _clients.pop(self._key, None)
            _sessions.pop((self.where.profile, self.where.credentials_file), None)

    def _client(self) -> Any:
        if self._key not in _clients:
            config: Any = importlib.import_module("botocore.config")
            session, where = self._session(), self.where
            _clients[self._key] = session.client(
                "s3",
                endpoint_url=where.endpoint or None,
                region_name=where.region or session.region_name or "us-east-1",
                config=config.Config(
                    connect_timeout=CONNECT_S,
                    read_timeout=READ_S,
                    retries={"mode": "standard", "total_max_attempts": TRIES},
                    signature_version="s3v4",
                    s3={"addressing_style": "path" if where.endpoint else "auto"},
                    # Older MinIO and R2 know no other checksums than those that are required.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    tcp_keepalive=True,
                ),
            )
        return _clients[self._key]

    def _session(self) -> Any:
        profile, file = self.where.profile, self.where.credentials_file
        if (profile, file) not in _sessions:
            # A file that is named goes before what the environment says; a profile makes it so.
            chosen = profile or ("default" if file else None)
            core: Any = importlib.import_module("botocore.session").Session(profile=chosen)
            if file:
                with open(file, "rb"):
                    # The library would quietly go on without it.
                    core.set_config_variable("credentials_file", file)
            # Now, because it reads the files named so far.
            _share_loader(core)
            library: Any = importlib.import_module("boto3")
            _sessions[profile, file] = library.Session(botocore_session=core)
        return _sessions[profile, file]


def _share_loader(core: Any) -> None:
    if not _loaders:
        _loaders.append(core.get_component("data_loader"))
    core.register_component("data_loader", _loaders[0])


def warm_up() -> None:
    """Reads what the library reads when it is first used, while nobody is watched yet.

    Cost: half a second. Never: a question to anybody, or credentials that are read.
    """
    try:
        library: Any = importlib.import_module("boto3")
        core: Any = importlib.import_module("botocore.session").Session()
        exceptions: Any = importlib.import_module("botocore.exceptions")
    except ImportError:
        return
    nobody = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    # What is wrong with the machine's own settings is told by the first look.
    with _lock, suppress(exceptions.BotoCoreError, ValueError, OSError):
        _share_loader(core)
        library.Session(botocore_session=core).client("s3", region_name="us-east-1", **nobody)


class NoListing(OSError):
    """An answer without a listing, which must not be taken for a place without backups."""


class Late(OSError):
    """Listing takes longer than a look may."""


def _whole(one: Any) -> Any:
    """An object with its name, size and time, as every storage that speaks S3 tells them."""
    if not {"Key", "Size", "LastModified"} <= one.keys():
        raise NoListing("what answers there does not speak S3: an object has no name, size or time")
    at = one["LastModified"]
    return one if at.tzinfo is not None else {**one, "LastModified": at.replace(tzinfo=UTC)}


def code_of(error: Exception) -> str:
    """The storage's own code of an error; empty: it did not answer."""
    response: Any = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


_WORDS: Final = {
    "NoCredentialsError": "there are no credentials: name a `credentials_file` or a `profile`",
    "ConnectTimeoutError": f"no connection within {CONNECT_S:g} s",
    "ReadTimeoutError": f"no answer within {READ_S:g} s",
}
