"""Backups and WAL in object storage, against a server that speaks S3."""

from __future__ import annotations

import gzip
import re
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fix_s3 import Storage
from samplings import Watched
from samplings import seen as heard
from stanch.adapters.backups import s3_link
from stanch.adapters.backups.s3_dumps import S3Dumps, kind_of_key
from stanch.adapters.backups.s3_link import S3Link, warm_up
from stanch.adapters.backups.s3_wal import S3Wal
from stanch.facts.wal_holes import holes
from stanch.model.backups import BackupsSeen, Branch
from stanch.model.diagnosis import Missing
from stanch.policy.backups import S3Bucket
from stanch.watch.backups.readings import PlaceReadings
from stanch.watch.backups.run import BackupWatch, Places

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
END = b"--\n-- PostgreSQL database dump complete\n--\n\n"
WHOLE = gzip.compress(b"CREATE TABLE t ();\n" * 100 + END, mtime=0)
DIED = gzip.compress(b"CREATE TABLE t ();\n" * 100, mtime=0)
MIB = 1024 * 1024


def hours(count: float) -> datetime:
    return NOW - timedelta(hours=count)


async def look(where: S3Bucket, *, now: datetime = NOW) -> BackupsSeen | Missing:
    return await S3Dumps(S3Link(where), now=lambda: now).look(deadline_s=30)


async def seen(s3: Storage, *, now: datetime = NOW) -> BackupsSeen:
    found = await look(s3.where, now=now)
    assert isinstance(found, BackupsSeen), found
    return found


async def test_the_newest_backup_that_is_whole_counts_and_a_newer_one_that_died_does_not(
    s3: Storage,
) -> None:
    for days in range(1, 5):
        s3.put(f"orders/2026/{days}.sql.gz", WHOLE, at=hours(24 * days))
    s3.put("orders/died.sql.gz", DIED, at=hours(1))
    s3.put("orders/empty.dump", b"", at=hours(2))
    s3.put("orders/cut.sql", END[:10], at=hours(3))
    s3.put("orders/html.dump", b"<html>", at=hours(4))
    s3.put("orders/notes.txt", b"x", at=hours(0))
    s3.put("users/other.sql.gz", WHOLE, at=hours(0))
    found = await seen(s3)
    assert {b.name: b.fault for b in found.backups if b.fault} == {
        "died.sql.gz": "ends without the last line of pg_dump",
        "empty.dump": "is empty",
        "cut.sql": "ends without the last line of pg_dump",
        "html.dump": "does not begin as a dump of pg_dump",
    }
    readings = PlaceReadings(place="x", keep_days=30).of(
        found, Missing(what="archive", reason=""), at=NOW
    )
    told = {r.name: r for r in readings}
    assert (told["backup_age_s"].value, told["backup_age_s"].detail) == (86_400, "2026/1.sql.gz")
    assert told["backup_size_ratio"].value == 1
    assert told["backup_failed"].detail == "died.sql.gz: ends without the last line of pg_dump"


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a.sql", "sql"),
        ("2026-11-21.SQL.GZ", "sql.gz"),
        ("x/orders.v2.dump", "custom"),
        ("a.sql.zst.age", "sql.zst.age"),
        ("base.tar.gz", "tar.gz"),
        ("a.dump.gpg", "custom.gpg"),
        ("a.gz", ""),
        ("readme.txt", ""),
        ("v1.sql/readme", ""),
        ("000000010000000000000004.00000028.backup", ""),
    ],
)
def test_what_is_a_backup_is_told_by_its_name(key: str, kind: str) -> None:
    assert kind_of_key(key) == kind


async def test_more_than_one_page_is_listed_to_the_end(s3: Storage) -> None:
    for n in range(7):
        s3.put(f"orders/{n}.sql.gz", WHOLE, at=hours(n))
    place = S3Dumps(S3Link(s3.where, page=3), now=lambda: NOW)
    found = await place.look(deadline_s=30)
    assert isinstance(found, BackupsSeen)
    assert (found.count, found.size_bytes) == (7, 7 * len(WHOLE))


@pytest.mark.parametrize(
    ("pointer", "content", "fault"),
    [
        ("latest", b"s3://backups/orders/new.sql.gz\n", ""),
        ("latest.json", b'{"key": "orders/new.sql.gz"}', ""),
        ("latest", b"old.sql.gz", "latest says 'old.sql.gz', the newest good one is new.sql.gz"),
        ("LATEST.txt", b"", "LATEST.txt is empty"),
        ("latest.sql.gz", WHOLE, ""),
        ("latest.sql.gz", WHOLE + b"x", "latest.sql.gz is not the newest good one"),
    ],
)
async def test_a_pointer_to_the_latest_has_to_name_or_be_the_newest_good_backup(
    s3: Storage, pointer: str, content: bytes, fault: str
) -> None:
    s3.put("orders/old.sql.gz", WHOLE, at=hours(30))
    s3.put("orders/new.sql.gz", WHOLE, at=hours(6))
    s3.put("orders/died.sql.gz", DIED, at=hours(1))
    s3.put(f"orders/{pointer}", content, at=hours(5))
    found = await seen(s3)
    assert found.latest_fault == fault
    assert found.count == 3


async def test_an_upload_that_goes_on_is_a_backup_being_taken_and_an_old_one_was_left(
    s3: Storage,
) -> None:
    s3.client.create_multipart_upload(Bucket=s3.where.bucket, Key="orders/big.dump")
    s3.client.create_multipart_upload(Bucket=s3.where.bucket, Key="users/other.dump")
    [begun] = s3.client.list_multipart_uploads(Bucket=s3.where.bucket, Prefix="orders/")["Uploads"]
    at: datetime = begun["Initiated"]
    young = await seen(s3, now=at + timedelta(hours=23))
    assert (young.running, young.uploads) == (True, None)
    left = (await seen(s3, now=at + timedelta(hours=25))).uploads
    assert left is not None
    assert (left.count, left.oldest_at, left.oldest_name) == (1, at, "big.dump")
    assert await raised(s3, at + timedelta(hours=23)) == []
    assert await raised(s3, at + timedelta(hours=25)) == ["backup_uploads_left:s3 offsite"]


async def raised(s3: Storage, at: datetime) -> list[str]:
    """What the rules make of a look at that moment, with a backup that was taken an hour before."""
    s3.put("orders/whole.sql.gz", WHOLE, at=at - timedelta(hours=1))

    async def archived() -> Missing:
        return Missing(what="archive", reason="nobody asks for it here")

    place = S3Dumps(S3Link(s3.where), now=lambda: at)
    watch = BackupWatch(Places(backups=[(place, 30.0)]), archived=archived, now=lambda: at)
    await watch.look()
    return Watched().look(0, heard(readings=watch.take())).raised


# --- what can be wrong with the way there ---


def refusal(code: str) -> str:
    said = "what the storage says"
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{said}</Message></Error>"


LISTING = (
    "<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated><Contents>"
    "<Key>orders/a.dump</Key><LastModified>2026-11-21T06:00:00.000Z</LastModified>"
    "<Size>9000</Size></Contents></ListBucketResult>"
)


LEFT_OUT = {
    "listing-name": "<Key>.*</Key>",
    "listing-size": "<Size>.*</Size>",
    "listing-time": "<LastModified>.*</LastModified>",
    "listing-zone": r"(?<=:00)\.000Z",
}
"""What a storage leaves out of its listing, by the name of the bucket."""


class Answering(BaseHTTPRequestHandler):
    """A storage whose answer is in the name of the bucket."""

    def do_GET(self) -> None:
        bucket, _, rest = self.path.lstrip("/").partition("?")
        if bucket == "page":
            self.answer(200, "<html>welcome</html>")
        elif not bucket.startswith("listing"):
            self.answer(404 if bucket == "NoSuchBucket" else 403, refusal(bucket))
        elif "list-type=2" in rest:
            self.answer(200, re.sub(LEFT_OUT.get(bucket, "^$"), "", LISTING))
        else:
            self.answer(403, refusal("AccessDenied"))

    def answer(self, code: int, body: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object, **more: object) -> None: ...


@pytest.fixture(scope="module")
def answering() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("RequestTimeTooSkewed", "the clock of this machine is too far from that of the storage"),
        ("InvalidAccessKeyId", "the storage does not know these credentials"),
        ("SignatureDoesNotMatch", "the secret key is wrong"),
        ("AccessDenied", "these credentials may not do that"),
        ("NoSuchBucket", "there is no such bucket"),
        ("Strange", "what the storage says"),
    ],
)
async def test_a_refusal_is_told_in_words_with_the_storages_own(
    s3: Storage, answering: str, code: str, reason: str
) -> None:
    found = await look(replace(s3.where, endpoint=answering, bucket=code))
    assert found == Missing(what="backups", reason=f"s3 offsite: {reason} ({code})")


async def test_a_bucket_that_is_not_there_is_missing_with_the_reason(s3: Storage) -> None:
    found = await look(replace(s3.where, bucket="never-was"))
    assert found == Missing(
        what="backups", reason="s3 offsite: there is no such bucket (NoSuchBucket)"
    )


async def test_an_answer_that_is_no_listing_is_not_taken_for_a_place_without_backups(
    s3: Storage, answering: str
) -> None:
    found = await look(replace(s3.where, endpoint=answering, bucket="page"))
    assert found == Missing(
        what="backups", reason="s3 offsite: what answers there does not speak S3"
    )


@pytest.mark.parametrize("left_out", ["name", "size", "time"])
async def test_an_object_without_what_every_storage_tells_is_a_reason_and_no_crash(
    s3: Storage, answering: str, left_out: str
) -> None:
    where = replace(s3.where, endpoint=answering, bucket=f"listing-{left_out}")
    reason = "what answers there does not speak S3: an object has no name, size or time"
    missing = Missing(what="backups", reason=f"s3 offsite: {reason}")
    assert await look(where) == missing
    assert await S3Wal(S3Link(where)).walk(deadline_s=30) == missing


async def test_a_time_without_a_zone_is_utc(s3: Storage, answering: str) -> None:
    found = await look(replace(s3.where, endpoint=answering, bucket="listing-zone"))
    assert isinstance(found, BackupsSeen)
    assert [backup.at for backup in found.backups] == [hours(6)]


async def test_a_storage_that_is_silent_or_refuses_connections_is_missing_within_the_deadline(
    s3: Storage,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        place = S3Dumps(S3Link(replace(s3.where, endpoint=url)), now=lambda: NOW)
        found = await place.look(deadline_s=0.2)
    assert found == Missing(what="backups", reason="s3 offsite was not listed within 0.2 s")
    refused = await look(replace(s3.where, endpoint=url))
    assert isinstance(refused, Missing)
    assert "Could not connect" in refused.reason


async def test_credentials_that_are_not_where_the_policy_says_are_named(
    s3: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-somebody-else")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-somebody-else")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nowhere = await look(replace(s3.where, credentials_file="/no/such/file"))
    assert nowhere == Missing(
        what="backups", reason="s3 offsite: /no/such/file: No such file or directory"
    )
    unknown = await look(replace(s3.where, profile="nobody"))
    assert isinstance(unknown, Missing)
    assert "nobody" in unknown.reason
    # The file that is named has no default profile; the environment is not asked instead.
    without = await look(replace(s3.where, profile=""))
    assert isinstance(without, Missing)
    assert "default" in without.reason or "credentials" in without.reason


async def test_the_right_to_list_is_enough(s3: Storage, answering: str) -> None:
    found = await look(replace(s3.where, endpoint=answering, bucket="listing"))
    assert isinstance(found, BackupsSeen), found
    assert [(b.name, b.is_good) for b in found.backups] == [("a.dump", True)]
    assert (found.uploads, found.running) == (None, False)


async def test_what_the_library_reads_of_itself_is_read_once_however_often_a_client_is_made(
    tmp_path: Path,
) -> None:
    read: list[str] = []

    def note(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and "/botocore/data/" in str(args[0]):
            read.append(str(args[0]))

    sys.addaudithook(note)
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    where = S3Bucket(
        name="off", bucket="b", endpoint="http://127.0.0.1:9", credentials_file=str(file)
    )
    warm_up()
    read.clear()
    # Nobody listens there: the client is thrown away, and the next look makes another one.
    for _ in range(2):
        assert isinstance(await look(where), Missing)
    assert read == []


async def test_places_with_the_same_credentials_share_one_client(s3: Storage) -> None:
    await seen(s3)
    other = S3Link(replace(s3.where, name="other", bucket="another"))
    mine, theirs = S3Link(s3.where).open(), other.open()
    assert isinstance(mine, s3_link.Asked)
    assert isinstance(theirs, s3_link.Asked)
    assert mine.client is theirs.client


# --- WAL ---


async def test_archived_wal_is_read_by_its_names_with_the_history_of_its_timelines(
    s3: Storage,
) -> None:
    for n in (2, 3, 4):
        s3.put(f"orders-wal/wal_005/00000001000000000000000{n}.lz4", at=hours(9 - n))
    for n in (5, 7):
        s3.put(f"orders-wal/wal_005/00000002000000000000000{n}.lz4", at=hours(9 - n))
    s3.put("orders-wal/wal_005/000000020000000000000006.lz4.tmp")
    s3.put("orders-wal/00000002.history", b"1\t0/5000100\tno recovery target specified\n")
    place = S3Wal(S3Link(s3.where))
    walked = await place.walk(deadline_s=30)
    assert not isinstance(walked, Missing)
    [held] = walked
    assert held.branches == (Branch(timeline=1, end_bytes=0x5000100),)
    [gap] = holes(held, segment_bytes=16 * MIB)
    assert (gap.timeline, gap.first, gap.last) == (2, 6, 6)
    before = "000000020000000000000005"
    assert await place.when(before, repository="", deadline_s=30) == hours(4)
    assert await place.when("0" * 24, repository="", deadline_s=30) is None


async def test_wal_that_cannot_be_listed_is_missing_with_the_reason(s3: Storage) -> None:
    found = await S3Wal(S3Link(replace(s3.where, bucket="never-was"))).walk(deadline_s=30)
    assert found == Missing(
        what="backups", reason="s3 offsite: there is no such bucket (NoSuchBucket)"
    )
