"""Where the backups of a target lie, and the keys that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stanch.policy.host_checks import contradiction
from stanch.policy.host_keys import DOCKER, SSH
from stanch.policy.hosts import DockerHost, HostPolicy, SshHost
from stanch.policy.kinds import HTTP_URL, NAME, Choice, Path, Text
from stanch.policy.quantities import Duration
from stanch.policy.shapes import Key, Named, OneOf, Section

DAY_S = 86_400.0
CommandsPolicy = Literal["here", "host"] | SshHost | DockerHost


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Bucket:
    """Backups in object storage that speaks S3."""

    name: str
    bucket: str
    prefix: str = ""
    wal_prefix: str = ""
    """Empty: no WAL is kept there."""
    endpoint: str = ""
    """Empty: Amazon's own."""
    region: str = ""
    profile: str = ""
    """Empty: the default one, or what the environment says."""
    credentials_file: str = ""
    """Empty: where the AWS tools look."""
    keep_s: float = 30 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """Places where backups lie. Empty: not looked at."""

    dumps: str = ""
    """A folder of dumps on the machine of Stanch."""
    dumps_keep_s: float = 7 * DAY_S
    pgbackrest: str = ""
    """A stanza."""
    pgbackrest_config: str = ""
    """Empty: where pgBackRest looks by itself."""
    pgbackrest_on: CommandsPolicy = "here"
    """The machine that it is asked on: that of Stanch, the target's `host`, or another one."""
    pgbackrest_keep_s: float = 7 * DAY_S
    wal: str = ""
    """A folder of archived WAL on the machine of Stanch."""
    s3: tuple[S3Bucket, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.dumps or self.pgbackrest or self.wal or self.s3)

    @property
    def any_wal(self) -> bool:
        """Whether one of the places holds WAL, so that the server is asked about its archive."""
        return bool(self.pgbackrest or self.wal or any(one.wal_prefix for one in self.s3))


KEEP = Duration(min_s=DAY_S, max_s=366 * DAY_S)
PREFIX = Text(word="prefix", pattern=r"[^\x00-\x1f\x7f]{1,900}", like="orders/")
BUCKET_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}"

S3 = Section(
    title="bucket",
    make=S3Bucket,
    keys=(
        Key(
            name="bucket",
            field="bucket",
            holds=Text(word="bucket name", pattern=BUCKET_NAME, like="example-backups"),
            doc="The bucket.",
            example="example-backups",
        ),
        Key(
            name="prefix",
            field="prefix",
            holds=PREFIX,
            doc="What the names of this server's backups begin with; one database a prefix. "
            "Left out: all of the bucket.",
            example="orders/",
        ),
        Key(
            name="wal_prefix",
            field="wal_prefix",
            holds=PREFIX,
            doc="What the names of its archived WAL begin with. Left out: no WAL is kept there.",
            example="orders-wal/",
        ),
        Key(
            name="endpoint",
            field="endpoint",
            holds=HTTP_URL,
            doc="The address of R2, MinIO or another storage that speaks S3. Left out: Amazon's.",
            example="https://s3.example.com",
        ),
        Key(
            name="region",
            field="region",
            holds=Text(word="region", pattern=r"[a-z0-9-]{2,40}", like="eu-central-1"),
            doc="Its region. Left out: that of the profile or the environment, else us-east-1.",
            example="eu-central-1",
        ),
        Key(
            name="profile",
            field="profile",
            holds=Text(word="profile", pattern=r"[^\s\x00-\x1f\x7f\[\]]{1,100}", like="stanch"),
            doc="The profile of the credentials file. Left out: what the environment says, else "
            "`default`. Keys never stand in this file.",
            example="stanch",
        ),
        Key(
            name="credentials_file",
            field="credentials_file",
            holds=Path(),
            doc="A credentials file as the AWS tools write it. Left out: ~/.aws/credentials.",
            example="/etc/stanch/s3-credentials",
        ),
        Key(
            name="keep",
            field="keep_s",
            holds=KEEP,
            doc="How far back backups were promised to reach here.",
        ),
    ),
)

PGBACKREST_ON = OneOf(words=Choice(values=("here", "host")), by_key={"ssh": SSH, "docker": DOCKER})

BACKUPS = Section(
    title="backups",
    make=Backups,
    keys=(
        Key(
            name="dumps",
            field="dumps",
            holds=Path(),
            doc="A folder of dumps on the machine of Stanch: `*.sql`, `*.sql.gz`, `*.dump`, or "
            "folders of `pg_dump -Fd`. Only whole ones count.",
            example="/var/backups/orders",
        ),
        Key(
            name="dumps_keep",
            field="dumps_keep_s",
            holds=KEEP,
            doc="How far back dumps were promised to reach there.",
        ),
        Key(
            name="pgbackrest",
            field="pgbackrest",
            holds=Text(word="stanza", pattern=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", like="orders"),
            doc="The server's stanza. pgBackRest is asked for its backups, and for the names of "
            "the WAL files in its repositories.",
            example="orders",
        ),
        Key(
            name="pgbackrest_config",
            field="pgbackrest_config",
            holds=Path(),
            doc="Its configuration file. Left out: where pgBackRest looks by itself.",
            example="/etc/pgbackrest/orders.conf",
        ),
        Key(
            name="pgbackrest_on",
            field="pgbackrest_on",
            holds=PGBACKREST_ON,
            doc="Where pgBackRest is asked: here, on the machine of Stanch; host, the way `host` "
            "sees the server's machine; or another machine or container.",
        ),
        Key(
            name="pgbackrest_keep",
            field="pgbackrest_keep_s",
            holds=KEEP,
            doc="How far back its backups were promised to reach.",
        ),
        Key(
            name="wal",
            field="wal",
            holds=Path(),
            doc="A folder on the machine of Stanch in which archive_command keeps WAL files, "
            "packed or not.",
            example="/var/backups/orders-wal",
        ),
        Key(
            name="s3",
            field="s3",
            holds=Named(entry=S3, name=NAME, field="name", noun="bucket"),
            doc="Backups in object storage that speaks S3, by a name for each place. "
            "Needs stanch[s3].",
            example="{offsite: {bucket: example-backups, prefix: orders/}}",
        ),
    ),
)


def backup_contradiction(backups: Backups, host: HostPolicy) -> tuple[str, str, str] | None:
    """The key, what is wrong, and what to do; None where the keys fit together."""
    if backups.pgbackrest_on != "here" and not backups.pgbackrest:
        what = "says where a stanza is asked, and there is none"
        return "pgbackrest_on", what, "Name the stanza in `pgbackrest`, or remove this line."
    if backups.pgbackrest_on == "host" and not isinstance(host, SshHost | DockerHost):
        what = "host: no command can be run the way the target's machine is seen"
        hint = "Set the target's `host` to ssh or docker, or name the machine here."
        return "pgbackrest_on", what, hint
    if isinstance(backups.pgbackrest_on, DockerHost):
        return _docker(backups.pgbackrest_on)
    return None


def _docker(host: DockerHost) -> tuple[str, str, str] | None:
    found = contradiction(host)
    return None if found is None else ("pgbackrest_on", *found[1:])
