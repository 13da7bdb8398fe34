"""Rename a lock file that is proven stale, so that the server can start again."""
