"""Questions that are asked every few minutes: sizes, headroom, rights, errors, inventories."""
