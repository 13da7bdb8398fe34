"""Which looks an answer does not wait for."""
