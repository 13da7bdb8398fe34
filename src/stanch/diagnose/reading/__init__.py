"""Readings of one file or folder that take several steps, each after the other."""
