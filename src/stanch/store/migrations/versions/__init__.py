"""The changes themselves; a released one is never edited."""
