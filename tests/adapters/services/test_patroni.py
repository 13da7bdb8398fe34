"""Patroni asked over HTTP."""

from __future__ import annotations

from http_at import Asked, Said, http_at, said
from stanch.adapters.services.patroni import ask_patroni
from stanch.model.diagnosis import Missing
from stanch.model.patroni import PatroniSeen
from stanch.policy.patroni import PatroniSource

STATUS = {"state": "stopped", "role": "replica", "patroni": {"scope": "shop"}}
CLUSTER = {"members": [{"name": "two", "role": "leader", "state": "running"}]}


def answers(asked: Asked) -> Said:
    """With 503, as Patroni does where its server is down."""
    return said(CLUSTER if asked.path == "/cluster" else STATUS, status=503)


async def test_a_server_that_is_down_is_told_of_all_the_same() -> None:
    async with http_at(answers) as at:
        seen = await ask_patroni(PatroniSource(url=f"{at.url}/"), deadline_s=2.0)
    assert isinstance(seen, PatroniSeen)
    assert (seen.state, seen.leader) == ("stopped", "two")
    assert [(a.method, a.path) for a in at.asked] == [("GET", "/patroni"), ("GET", "/cluster")]


async def test_one_that_says_nothing_is_missing_in_time() -> None:
    async with http_at(lambda asked: Said(stays=True)) as at:
        seen = await ask_patroni(PatroniSource(url=at.url), deadline_s=0.3)
    assert seen == Missing(what="patroni", reason="no answer within 0.3 s")


async def test_without_the_cluster_its_own_word_counts() -> None:
    def only_status(asked: Asked) -> Said:
        return said(STATUS) if asked.path == "/patroni" else Said(status=404)

    async with http_at(only_status) as at:
        seen = await ask_patroni(PatroniSource(url=at.url), deadline_s=2.0)
    assert isinstance(seen, PatroniSeen)
    assert seen.members == ()
