"""A certificate authority of the test's own, and servers that show what it issued.

`authority`      issues certificates for any name and any dates
`own_authority`  one certificate that signed itself, and whoever shows it
"""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from stanch.adapters.postgres.scratch import ScratchServer

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
[any]
commonName = supplied
"""


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "ca.crt"

    def issue(self, name: str, *, begins: datetime, ends: datetime) -> tuple[str, str]:
        """A certificate for a host name and its key, as PEM texts."""
        key, request, out = (self.folder / f"{name}.{part}" for part in ("key", "csr", "crt"))
        openssl("req", "-new", *NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}",
                "-addext", f"subjectAltName=DNS:{name}")  # fmt: skip
        dates = ("-startdate", f"{begins:%Y%m%d%H%M%SZ}", "-enddate", f"{ends:%Y%m%d%H%M%SZ}")
        openssl("ca", "-batch", "-notext", "-config", self.folder / "ca.conf", "-in", request,
                "-out", out, *dates)  # fmt: skip
        return out.read_text(), key.read_text()


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "ca"
    folder.mkdir()
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("1000\n")
    (folder / "ca.conf").write_text(CA_CONF.format(folder=folder))
    openssl("req", "-x509", *NEW_KEY, "-keyout", folder / "ca.key", "-out", folder / "ca.crt",
            "-subj", "/CN=Test Root", "-days", "30")  # fmt: skip
    return Authority(folder)


@pytest.fixture
def own_authority(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    """A server's context with a certificate for localhost that signed itself, and its file."""
    key, crt = tmp_path / "key.pem", tmp_path / "crt.pem"
    openssl("req", "-x509", *NEW_KEY, "-keyout", key, "-out", crt, "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-days", "2")  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    return context, str(crt)


def serve_tls(server: ScratchServer, certificate: str, key: str) -> None:
    server.folder.write_owned(server.data_directory / "server.crt", certificate)
    server.folder.write_owned(server.data_directory / "server.key", key)
    (server.data_directory / "server.key").chmod(0o600)
    server.set_conf({"ssl": "on"})
