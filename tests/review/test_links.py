"""Links at the end of a post-mortem: alive where they are plain addresses, and nothing else is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from stanch.model.links import Link
from stanch.review.postmortem import postmortem
from timelines import Story, opened


def anchors(*links: Link) -> list[str]:
    """Where the links of the rendered report lead."""
    text = postmortem(Story(opened()).timeline, people={}, links=links)
    return re.findall(r'<a href="([^"]*)"', MarkdownIt().render(text))


def test_a_link_leads_where_it_says() -> None:
    url = "https://g.example.com/d/x?from=1&to=2#(panel:'3')"
    [found] = anchors(Link(name="a dashboard", url=url))
    assert found.replace("&amp;", "&").replace("&#x27;", "'").replace("%27", "'") == url


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://a.example.com/><b>x", "https://a b", "https://x\n# y"]
)
def test_what_is_no_plain_address_is_shown_and_leads_nowhere(url: str) -> None:
    assert anchors(Link(name="x", url=url)) == []


@given(st.text(max_size=60))
def test_no_name_of_a_link_becomes_markup(name: str) -> None:
    assert anchors(Link(name=name, url="https://g.example.com/")) == ["https://g.example.com/"]


def test_without_links_nothing_is_said_of_them() -> None:
    assert "## Links" not in postmortem(Story(opened()).timeline, people={})
