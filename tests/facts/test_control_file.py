"""The control file read as bytes says what `pg_controldata` says of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.control_file import READ_BYTES, as_printed
from stanch.facts.controldata import ClusterState, ControlData, parse_controldata
from stanch.model.diagnosis import Missing


def content_of(server: ScratchServer) -> bytes:
    return (server.data_directory / "global/pg_control").read_bytes()[:READ_BYTES]


def parsed(content: bytes) -> ControlData:
    text = as_printed(content)
    assert isinstance(text, str), text
    return parse_controldata(text)


async def printed(server: ScratchServer) -> ControlData:
    data, programs = str(server.data_directory), str(server.binaries.bin_dir)
    text = await LocalHost(data_directory=data, bin_dir=programs).controldata(deadline_s=10)
    assert isinstance(text, str), text
    return parse_controldata(text)


async def test_the_file_and_the_program_agree_on_each_of_its_states(server: ScratchServer) -> None:
    for change, state in (
        (None, ClusterState.IN_PRODUCTION),
        (server.stop, ClusterState.SHUT_DOWN),
    ):
        if change is not None:
            change()
        ours, theirs = parsed(content_of(server)), await printed(server)
        assert ours.state is theirs.state is state
        assert not ours.crc_wrong
        for name in (
            "system_identifier",
            "checkpoint_lsn",
            "redo_lsn",
            "timeline_id",
            "pg_control_version",
        ):
            assert getattr(ours, name) == getattr(theirs, name), name
            assert getattr(ours, name) is not None, name


def test_a_file_that_does_not_match_its_checksum_says_nothing_of_how_it_ended(
    server: ScratchServer,
) -> None:
    server.stop()
    content = bytearray(content_of(server))
    content[100] ^= 0xFF
    assert parsed(bytes(content)).crc_wrong
    assert parsed(bytes(content)).ended_cleanly is None


def test_a_file_of_another_byte_order_is_read_by_its_own() -> None:
    head = bytearray(READ_BYTES)
    head[0:8] = (7).to_bytes(8, "big")
    head[8:12] = (1800).to_bytes(4, "big")
    head[16:20] = (1).to_bytes(4, "big")
    found = parsed(bytes(head))
    assert (found.system_identifier, found.state) == ("7", ClusterState.SHUT_DOWN)
    assert found.crc_wrong, "and nobody wrote a checksum into it"


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\0" * READ_BYTES, b"\xff" * READ_BYTES])
def test_what_is_no_control_file_is_missing(content: bytes) -> None:
    assert isinstance(as_printed(content), Missing)


@given(st.binary(max_size=600))
def test_no_content_is_too_strange(content: bytes) -> None:
    found = as_printed(content)
    assert isinstance(found, Missing) or parse_controldata(found).crc_wrong
