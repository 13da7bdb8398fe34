"""An application whose pool runs full, through a running Stanch: paged, with links."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fix_responder import MakeResponder
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = [
    pytest.mark.story,
    # Nothing here depends on what the server is.
    pytest.mark.parametrize("pg_major", [15], indirect=True),
]


class App(ThreadingHTTPServer):
    """Tells its pools, of which one is full."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/pools"


class Told(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(
            [
                {"pool_name": "web", "active_connections": 20, "max_connections": 20},
                {"pool_name": "jobs", "active_connections": 15, "max_connections": 20},
            ]
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name there
        """Quiet."""


@pytest.fixture
def app() -> Iterator[App]:
    with App(("127.0.0.1", 0), Told) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_full_pool_is_paged_with_links_and_a_pool_with_room_is_not(
    shared_server: ScratchServer, make_responder: MakeResponder, app: App
) -> None:
    responder = make_responder(
        shared_server,
        target={
            "pools": {"app": {"type": "json", "url": app.url}},
            "rules": {"pool_exhausted": {"hold": "0s"}, "pool_high": {"hold": "0s"}},
            "links": {"dashboard": {"url": "https://g.example.com/{target}?from={since_ms}"}},
        },
    )
    mail = responder.wait_for_mail(lambda mail: "pool" in mail.subject, "about the pool")
    text = mail.text.replace("\r\n", "\n")
    assert "pool app/web is 100" in text
    assert "LINKS\ndashboard: https://g.example.com/orders?from=" in text
    shown = responder.show()
    assert shown["symptoms"] == ["pool_exhausted:app/web"]
    assert shown["links"][0]["url"] in text
    assert f"<{shown['links'][0]['url']}>" in responder.ask("/incidents/1/postmortem")["markdown"]
