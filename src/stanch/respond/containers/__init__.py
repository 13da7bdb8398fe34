"""What all acts on containers have in common: which one is meant, and who else has a hand on it."""
