"""Signals to one backend, on condition that it is still the one that was meant."""
