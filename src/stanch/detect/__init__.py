"""Readings to symptoms: hold before raising, hold before clearing, and never guess.

Comes in: one sample of one target. Goes out: symptoms raised and cleared. Never: the world, a
clock, a verdict from missing data. A reading that could not be had is neither good nor bad.
"""
