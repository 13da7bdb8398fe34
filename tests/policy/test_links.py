"""Links of a target: what may stand in them, and how they are filled in for an incident."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from stanch.model.links import Link
from stanch.policy.canonical import canonical_text
from stanch.policy.links import filled
from stanch.policy.parse import parse_policy, read_policy

HEAD = """\
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example}}
ladder: [asha]
channels: {console: {type: terminal}}
targets:
  orders:
    dsn: service=orders
"""
GRAFANA = "https://grafana.example.com/d/x?var-db={target}&from={since_ms}&to={until_ms}#panel-2"
BEGAN = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
UNTIL = datetime(2026, 3, 14, 3, 30, tzinfo=UTC)
SINCE_MS, UNTIL_MS = "1773456300000", "1773459000000"


def written(url: str) -> str:
    return f"{HEAD}    links:\n      dashboard: {{url: '{url}'}}\n"


def one(url: str, target: str = "orders") -> str:
    [link] = filled([Link(name="l", url=url)], target=target, began=BEGAN, until=UNTIL)
    return link.url


def test_links_are_read_and_come_back_from_the_stored_text() -> None:
    policy = parse_policy(written(GRAFANA), file="p")
    assert policy.targets[0].links == (Link(name="dashboard", url=GRAFANA),)
    assert parse_policy(canonical_text(policy), file="stored") == policy


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "ftp://example.com/x",
        "https://ann:secret@grafana.example.com/",
        "https://{target}.example.com/",
        "https://example.com/{name}",
        "https://example.com/{target",
        "https://example.com/?left={\"a\":1}",
        "https://example.com/<script>",
        "https://example.com/a b",
        "https://example.com\\\\@evil.example.com/",
    ],
)  # fmt: skip
def test_what_is_no_plain_web_address_with_known_placeholders_is_an_error(url: str) -> None:
    [finding] = read_policy(written(url), file="p").errors
    assert finding.path == "targets.orders.links.dashboard.url"
    assert "placeholders" in finding.what
    assert "secret" not in str(finding)
    assert "{since_ms}" in finding.hint


def test_an_incident_fills_in_target_and_times_a_quarter_of_an_hour_before_it_began() -> None:
    parts = urlsplit(one(GRAFANA))
    assert parse_qs(parts.query) == {"var-db": ["orders"], "from": [SINCE_MS], "to": [UNTIL_MS]}
    assert (parts.netloc, parts.fragment) == ("grafana.example.com", "panel-2")
    search = one("https://logs.example.com/?q=(from:'{since}',to:'{until}')")
    assert search == (
        "https://logs.example.com/?q=(from:'2026-03-14T02%3A45%3A00Z',to:'2026-03-14T03%3A30%3A00Z')"
    )


def test_nothing_in_a_value_changes_an_address() -> None:
    url = one("https://example.com/{target}?a=1", target="x/../y?&#%{since}\n<é>")
    assert url == "https://example.com/x%2F..%2Fy%3F%26%23%25%7Bsince%7D%0A%3C%C3%A9%3E?a=1"


def test_what_is_written_percent_encoded_stays_and_other_letters_are_encoded() -> None:
    assert one("https://example.com/?left=%7B%22a%22:1%7D") == (
        "https://example.com/?left=%7B%22a%22:1%7D"
    )
    assert one("https://example.com/größe") == "https://example.com/gr%C3%B6%C3%9Fe"


def test_an_incident_that_does_not_say_when_it_began_has_links_to_its_end() -> None:
    [link] = filled([Link(name="l", url="{since_ms}")], target="t", began=None, until=UNTIL)
    assert link.url == str(int(UNTIL_MS) - 15 * 60_000)
