import asyncio
import io
import os
from dataclasses import replace

from stanch.adapters.channels.terminal import Terminal
from stanch.model.messages import Delivery, Handover, Message


async def test_a_page_is_one_line(page: Message, to_ann: Delivery) -> None:
    stream = io.StringIO()
    result = await Terminal(stream).send(page, to_ann, deadline_s=5)
    assert result.outcome is Handover.ACCEPTED
    [line] = stream.getvalue().splitlines()
    assert "PAGE" in line
    assert line.endswith(page.short)


async def test_a_repeat_says_so(page: Message, to_ann: Delivery) -> None:
    stream = io.StringIO()
    await Terminal(stream).send(replace(page, possible_repeat=True), to_ann, deadline_s=5)
    assert "possible repeat" in stream.getvalue()


async def test_terminal_escapes_in_a_message_do_nothing(page: Message, to_ann: Delivery) -> None:
    stream = io.StringIO()
    sly = replace(page, short="a\x1b]0;owned\x07\r\nfake line\u202e")
    await Terminal(stream).send(sly, to_ann, deadline_s=5)
    [line] = stream.getvalue().splitlines()
    assert line.isprintable()
    assert "\\x1b]0;owned" in line


async def test_letters_the_terminal_cannot_show_are_escaped(
    page: Message, to_ann: Delivery
) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    result = await Terminal(stream).send(replace(page, short="Größe"), to_ann, deadline_s=5)
    assert result.outcome is Handover.ACCEPTED
    assert b"Gr\\xf6\\xdfe" in raw.getvalue()


async def test_a_closed_terminal_is_given_up(page: Message, to_ann: Delivery) -> None:
    stream = io.StringIO()
    stream.close()
    result = await Terminal(stream).send(page, to_ann, deadline_s=5)
    assert (result.outcome, result.retryable) == (Handover.FAILED, False)


async def test_a_full_pipe_holds_up_one_line_and_not_the_caller(
    page: Message, to_ann: Delivery
) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "w") as stream:
        filler = b"x" * 4096
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, filler)
        except BlockingIOError:
            os.set_blocking(writing, True)
        port = Terminal(stream)
        first = await port.send(page, to_ann, deadline_s=0.2)
        second = await port.send(page, to_ann, deadline_s=0.2)
        text = b""
        while page.short.encode() not in text:
            text += reader.read(65536)
        async with asyncio.timeout(5):
            while (await port.send(page, to_ann, deadline_s=5)).outcome is not Handover.ACCEPTED:
                await asyncio.sleep(0)
    assert first.outcome is Handover.IN_DOUBT
    assert (second.outcome, second.retryable) == (Handover.FAILED, True)
