"""Protocols that two rooms share: what a stage needs, without naming who gives it."""
