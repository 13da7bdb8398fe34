"""End the one session at the head of a chain that everybody else waits for."""
