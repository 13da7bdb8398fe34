"""End the sessions that a plan names, while they are still what they were picked for."""
