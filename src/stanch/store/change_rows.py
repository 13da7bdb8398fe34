"""Changes and inventories as rows: how they are written, read, and told apart."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import RowMapping

from stanch.model.changes import Change, Inventory, ItemKind
from stanch.store.chain import from_us, storable, to_us
from stanch.store.failures import corrupt
from stanch.watch.changes.diff import ITEMS_MAX, Known

TEXT_CHARS_MAX = 500
CONTENT_BYTES_MAX = 512 * 1024
"""Of one inventory, packed. Beyond, only its digest is kept: that it changed is not told then."""
UNPACKED_BYTES_MAX = 8 * 1024 * 1024


def change_id(target: str, change: Change) -> str:
    """The same for the same change however often it is told."""
    facts: tuple[object, ...] = (target, change.kind.value, change.source, change.key)
    if not change.key:
        told = (change.what, change.before, change.after, change.how, change.by)
        facts = (*facts, to_us(change.at), *told)
    text = json.dumps(facts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def as_values(row_id: str, target: str, change: Change) -> dict[str, Any]:
    """The columns of a row."""
    return {
        "id": row_id,
        "target": storable(target),
        "at_us": to_us(change.at),
        "since_us": None if change.since is None else to_us(change.since),
        "kind": change.kind.value,
        "what": _text(change.what),
        "before": None if change.before is None else _text(change.before),
        "after": None if change.after is None else _text(change.after),
        "source": _text(change.source),
        "done_by": _text(change.by),
        "how": _text(change.how),
        "link": _text(change.link),
        "failed": int(change.failed),
        "times": change.times,
    }


def _text(text: str) -> str:
    return storable(text[:TEXT_CHARS_MAX])


def from_row(row: RowMapping) -> Change:
    """The change behind a row. Raises StoreCorrupt where it cannot be one."""
    v = cast("Mapping[str, Any]", row)
    try:
        return Change(
            at=from_us(v["at_us"]),
            since=None if v["since_us"] is None else from_us(v["since_us"]),
            kind=ItemKind(v["kind"]),
            what=v["what"],
            before=v["before"],
            after=v["after"],
            source=v["source"],
            by=v["done_by"],
            how=v["how"],
            link=v["link"],
            failed=bool(v["failed"]),
            times=v["times"],
        )
    except (ValueError, TypeError) as error:
        raise corrupt("it cannot be read", on=f"change {v['id']!r}") from error


# --- inventories --------------------------------------------------------------------------------


def digest_of(inventory: Inventory) -> bytes:
    """The same for the same items in whatever order."""
    lines = sorted(f"{i.kind.value}\0{i.name}\0{i.value}" for i in inventory.items)
    whole = "\n".join(lines).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=16).digest()


def packed(inventory: Inventory) -> bytes:
    """Its items as they are kept; nothing where they are too many, or cut off by the question."""
    if len(inventory.items) >= ITEMS_MAX:
        return b""
    plain = [[i.kind.value, i.name, i.value] for i in inventory.items]
    content = zlib.compress(json.dumps(plain, separators=(",", ":")).encode("ascii"))
    return content if len(content) <= CONTENT_BYTES_MAX else b""


def unpacked(content: Any) -> Known | None:
    """What `packed` kept; None where it kept nothing, or where that is damaged.

    A damaged inventory is forgotten and not an error: it says nothing about any timeline.
    """
    try:
        text = zlib.decompressobj().decompress(content, UNPACKED_BYTES_MAX)
        return {(ItemKind(kind), str(name)): str(value) for kind, name, value in json.loads(text)}
    except (zlib.error, ValueError, TypeError, RecursionError):
        return None
