"""A strict receiver of webhooks, certificates for a mail server, and messages to send."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stanch.adapters.channels.signature import HEADER, verify
from stanch.model.ids import ChannelName, DeliveryId, IncidentId, MessageId
from stanch.model.messages import Delivery, Message, MessageKind

SECRET = b"correct horse battery staple"
KEYS = {
    "schema",
    "message_id",
    "delivery_id",
    "incident_id",
    "kind",
    "target",
    "severity_rank",
    "subject",
    "short",
    "body",
    "thread",
    "person",
    "address",
    "possible_repeat",
    "sent_at",
    "links",
    "changes",
}


class Receiver:
    """Takes what is signed, whole and of the documented shape; counts a key it knows once."""

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, Any]] = {}
        self.requests = 0
        self.repeats = 0
        self.before: Callable[[BaseHTTPRequestHandler], bool] | None = None
        self.after: Callable[[BaseHTTPRequestHandler], bool] | None = None
        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def refusal(self, headers: Any, body: bytes) -> int:
        if not verify(headers.get(HEADER, ""), body, secret=SECRET, at_unix=time.time()):
            return 401
        fields = json.loads(body)
        whole = fields.keys() == KEYS and fields["schema"] == "stanch.message/1"
        return 0 if whole and headers["Idempotency-Key"] == fields["delivery_id"] else 422

    def take(self, key: str, fields: dict[str, Any]) -> None:
        self.repeats += key in self.taken
        self.taken.setdefault(key, fields)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.requests += 1
                if receiver.before is not None and receiver.before(self):
                    return
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = receiver.refusal(self.headers, body)
                if not code:
                    receiver.take(self.headers["Idempotency-Key"], json.loads(body))
                if receiver.after is not None and receiver.after(self):
                    return
                self.answer(code or 202)

            def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        return Handler


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield running
    running.released.set()
    running.server.shutdown()
    running.server.server_close()
    thread.join(timeout=5)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=mailbox.example.com -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def trusting_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate[0]))


@pytest.fixture
def page() -> Message:
    return Message(
        id=MessageId("20260301-001.page.1"),
        incident_id=IncidentId("20260301-001"),
        kind=MessageKind.PAGE,
        subject="[P0] orders: server down (001)",
        short="P0 orders: server down. stanch ack 001",
        body="The whole story.\n.\n..and a line of dots\nend",
        thread="20260301-001",
        severity_rank=1,
        target="orders",
    )


@pytest.fixture
def to_ann() -> Delivery:
    return Delivery(
        id=DeliveryId("20260301-001.page.1.1"),
        message_id=MessageId("20260301-001.page.1"),
        channel=ChannelName("mail"),
        address="ann@example.com",
    )
