"""Bulky or personal content beside the chain, and the policies that were in force."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import insert, select, update

from stanch.model.ids import BlobKey
from stanch.store.chain import storable, to_us
from stanch.store.failures import corrupt
from stanch.store.schema import blob, policy
from stanch.store.transaction import Op, Tx

_SALT_BYTES = 16


def put_blob(content: bytes) -> Op[BlobKey]:
    """Keep content under a key that does not give it away; every call makes a new key."""

    def run(tx: Tx) -> BlobKey:
        salt = tx.random_bytes(_SALT_BYTES)
        key = blob_key(salt, content)
        tx.conn.execute(insert(blob), {"key": key, "salt": salt, "content": content})
        return key

    return run


def erase_blob(key: BlobKey, *, at: datetime) -> Op[bool]:
    """Remove content and salt; what names the key stays verifiable. False: nothing was there."""
    erased_us = to_us(at)

    def run(tx: Tx) -> bool:
        there = update(blob).where(blob.c.key == storable(key), blob.c.content.is_not(None))
        gone = tx.conn.execute(there.values(content=None, salt=None, erased_us=erased_us))
        return gone.rowcount > 0

    return run


def put_policy(policy_hash: str, text: str) -> Op[None]:
    """Keep a policy's text under its hash; keeping it again changes nothing."""

    def run(tx: Tx) -> None:
        name, said = storable(policy_hash), storable(text)
        kept = tx.conn.execute(select(policy.c.text).where(policy.c.hash == name)).scalar()
        if kept is None:
            row = {"hash": name, "text": said, "digest": policy_digest(name, said)}
            tx.conn.execute(insert(policy), row)
        elif kept != said:
            raise corrupt("another text is stored under this hash", on=f"policy {name}")

    return run


def blob_key(salt: bytes, content: bytes) -> BlobKey:
    """Hex SHA-256 over salt and content."""
    return BlobKey(hashlib.sha256(salt + content).hexdigest())


def policy_digest(policy_hash: str, text: str) -> bytes:
    """SHA-256 over name and text, so that damage to either shows."""
    name = policy_hash.encode("utf-8", "surrogateescape")
    said = text.encode("utf-8", "surrogateescape")
    return hashlib.sha256(len(name).to_bytes(8, "big") + name + said).digest()
