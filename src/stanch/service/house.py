"""Policy file, store, book and operations put together; the same for `stanch run` and commands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

import structlog
import yaml

from stanch.incident.projection import IncidentProjection
from stanch.model.errors import PolicyInvalid
from stanch.model.ids import RESPONDER
from stanch.policy.canonical import canonical_text
from stanch.policy.parse import parse_policy, policy_hash
from stanch.policy.policy import Policy
from stanch.service.clock import Clock, SteadyClock
from stanch.service.operations import Operations
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.service.record.standing import Standing
from stanch.store.sql import SqlStore
from stanch.store.timelines import (
    ANSWER_S_MAX,
    HANGS_HINT,
    STARTING_ANSWER_S_MAX,
    InlineStore,
    StoreThread,
)

Store = StoreThread | InlineStore


def read_policy_file(path: Path) -> Policies:
    """The policy in this file. Raises PolicyInvalid, also where the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyInvalid(
            f"cannot read the policy: {error}",
            on=str(path),
            hint="`stanch init` writes one; --config names another.",
        ) from error
    policy = parse_policy(text, file=str(path))
    kept = canonical_text(policy)
    return Policies(policy_hash(kept), policy, kept, lambda old: parse_policy(old, file="stored"))


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """One responder's belongings, open."""

    policies: Policies
    store: Store
    clock: Clock
    book: Book
    standing: Standing
    operations: Operations

    @property
    def policy(self) -> Policy:
        return self.policies.current


def projection_of(policies: Policies) -> IncidentProjection:
    return IncidentProjection(policies.of, lambda: policies.current)


async def open_house(
    policies: Policies,
    store: Store,
    *,
    clock: Clock | None = None,
    writable: bool = True,
    attended: bool = True,
) -> House:
    """Furnish an open store: the clock never behind the newest entry, standing facts folded.

    `attended`: by a responder that does what is due; not by a command that is gone at once.

    Raises: StoreError.
    """
    if clock is None:
        clock = SteadyClock(not_before=await _newest_moment(store))
    if writable:
        await store.put_policy(policies.current_hash, policies.current_text)
    standing = Standing()
    standing.apply_all(await store.read(RESPONDER))
    book = Book(store, clock)
    operations = Operations(
        timelines=store,
        book=book,
        policies=policies,
        standing=standing,
        clock=clock,
        attended=attended,
    )
    return House(
        policies=policies,
        store=store,
        clock=clock,
        book=book,
        standing=standing,
        operations=operations,
    )


async def _newest_moment(store: Store) -> datetime | None:
    """When the newest entry was made, as far as the newest timelines tell."""
    newest = [RESPONDER, *await store.incident_ids(open_only=False, limit=3)]
    moments = [entries[-1].at for i in newest if (entries := await store.read(i))]
    return max(moments, default=None)


def open_store(policies: Policies, *, threaded: bool) -> Store:
    """Become the writing process of the policy's state directory. Raises StoreError."""
    store = SqlStore.open(state_path(policies), projection_of(policies))
    if threaded:
        return StoreThread(store, answer_s=STARTING_ANSWER_S_MAX)
    return InlineStore(store)


def say_that_it_waits(store: Store) -> None:
    """While the journal has not let it take up what was left: nobody is paged by it yet."""
    if store.answer_s > ANSWER_S_MAX:
        log = structlog.get_logger("running")
        log.warning("nothing is watched yet: the journal does not answer", hint=HANGS_HINT)


def open_store_reading(policies: Policies) -> Store:
    """Look into a store that another process holds. Raises StoreError."""
    return InlineStore(SqlStore.open_reading(state_path(policies), projection_of(policies)))


def state_path(policies: Policies) -> Path:
    return Path(policies.current.state_directory).expanduser()


def state_path_of_invalid(path: Path) -> Path | None:
    """Where a policy file with errors says the state is, if that much of it can be read.

    While somebody edits the policy, acknowledging and halting must go on working.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
    given = cast("dict[object, object]", said) if isinstance(said, dict) else {}
    directory = given.get("state_directory")
    return Path(directory).expanduser() if isinstance(directory, str) and directory else None
