"""The slow lane: what is worth knowing every few minutes and never worth a disturbance."""
