"""Authorities that issue certificates for the rig's server, for any dates."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg.conninfo import make_conninfo

from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.rig import Rig

PROGRAMS = ("openssl",)

NAME = "localhost"
"""The name that clients use, and that a certificate must have."""

OFFICE, OTHER = "office", "other"
"""Folder names: the authority that all clients trust, and one that nobody does."""

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
TLS_S = 5.0

CA_CONF = """
[ca]
default_ca = here
[here]
dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
certificate = {folder}/ca.crt
private_key = {folder}/ca.key
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate authority in a folder of its own."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "ca.crt"

    @classmethod
    def create(cls, rig: Rig, called: str) -> Authority:
        """A new one, kept beside the server. Raises: NotMade."""
        folder = rig.server.folder.path / called
        folder.mkdir(mode=0o755)
        (folder / "index.txt").write_text("")
        (folder / "serial").write_text("1000\n")
        (folder / "ca.conf").write_text(CA_CONF.format(folder=folder))
        _openssl("req", "-x509", *NEW_KEY, "-keyout", folder / "ca.key", "-out", folder / "ca.crt",
                 "-subj", f"/CN=Root of {called}", "-days", "30")  # fmt: skip
        return cls(folder=folder)

    def install(self, rig: Rig, *, ends: datetime) -> None:
        """Give the server a certificate that is good until then, and have it read."""
        key, request, out = (self.folder / f"{NAME}.{part}" for part in ("key", "csr", "crt"))
        begins = datetime.now(UTC) - timedelta(days=rig.rng.randint(30, 300))
        _openssl("req", "-new", *NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={NAME}",
                 "-addext", f"subjectAltName=DNS:{NAME}")  # fmt: skip
        dates = ("-startdate", f"{begins:%Y%m%d%H%M%SZ}", "-enddate", f"{ends:%Y%m%d%H%M%SZ}")
        _openssl("ca", "-batch", "-notext", "-config", self.folder / "ca.conf", "-in", request,
                 "-out", out, *dates)  # fmt: skip
        folder, data = rig.server.folder, rig.server.data_directory
        folder.write_owned(data / "server.crt", out.read_text())
        folder.write_owned(data / "server.key", key.read_text())
        rig.server.set_conf({"ssl": True})


def serve_tls(rig: Rig, *, good_for: timedelta) -> None:
    """A certificate that everybody who connects insists on. Raises: NotMade."""
    office = Authority.create(rig, OFFICE)
    office.install(rig, ends=datetime.now(UTC) + good_for)
    end = time.monotonic() + TLS_S
    while rig.admin("SHOW ssl") != [("on",)]:
        if time.monotonic() > end:
            raise NotMade("these server programs speak no TLS")
        time.sleep(0.05)
    rig.way |= {"host": NAME, "sslmode": "verify-full", "sslrootcert": str(office.root)}
    rig.dsn = make_conninfo(rig.dsn, **rig.way)
    rig.until("SELECT 1")


def _openssl(*arguments: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise NotMade(f"openssl {arguments[0]}: {done.stderr.strip()[-500:]}")
