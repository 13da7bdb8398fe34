import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt
from markdown_it.token import Token

from stanch.review.markdown import bullet, escaped, row, table
from stanch.review.names import shown
from strange import MARKUP, texts

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PLAIN = {"inline", "text", "text_special", "softbreak"}


def flat(tokens: list[Token]) -> list[Token]:
    return [t for token in tokens for t in (token, *flat(token.children or []))]


def seen(markdown: str) -> str:
    """The text a reader of the rendered document sees."""
    tokens = flat(READER.parse(markdown))
    return "".join(t.content for t in tokens if t.type in {"text", "text_special"})


@pytest.mark.parametrize("text", MARKUP)
def test_markup_from_outside_is_shown_as_it_is_written(text: str) -> None:
    assert seen(escaped(text)) == shown(text)


@settings(max_examples=500, deadline=None)
@given(texts)
def test_any_text_is_one_plain_paragraph_of_exactly_that_text(text: str) -> None:
    tokens = flat(READER.parse(escaped(text)))
    assert {t.type for t in tokens} <= PLAIN | {"paragraph_open", "paragraph_close"}
    assert seen(escaped(text)) == shown(text)


@settings(deadline=None)
@given(texts)
def test_any_text_in_a_list_stays_one_item(text: str) -> None:
    tokens = flat(READER.parse(bullet(f"x{text}")))
    assert [t.type for t in tokens if t.type not in PLAIN] == [
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
        "paragraph_close",
        "list_item_close",
        "bullet_list_close",
    ]


@settings(deadline=None)
@given(texts, texts)
def test_any_texts_in_a_table_stay_in_their_cells(left: str, right: str) -> None:
    lines = table(("a", "b"), [(f"x{left}", f"y{right}")])
    tokens = flat(READER.parse("\n".join(lines)))
    assert [t.type for t in tokens].count("td_open") == 2
    assert [t.type for t in tokens].count("tr_open") == 2


@pytest.mark.parametrize("text", ["http://example.com", "WWW.example.com", "a@example.com"])
def test_no_bare_address_is_left_for_a_renderer_to_turn_into_a_link(text: str) -> None:
    assert "://" not in escaped(text)
    assert "www." not in escaped(text).lower()
    assert "@" not in escaped(text)


def test_ordinary_sentences_stay_readable_in_the_source() -> None:
    said = "Started PostgreSQL 15 (pg_ctl) at 03:00:01; it took 2.5 s, 93%."
    assert escaped(said) == said.replace("_", "\\_")


def test_an_empty_cell_keeps_its_place() -> None:
    assert row("a", "", "c").count("|") == 4
