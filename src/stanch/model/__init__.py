"""The words: ids, targets, samples, symptoms, evidence, causes, events, errors.

Comes in: nothing. Goes out: the vocabulary every other room speaks. Never: I/O, a clock, or
anything beyond the standard library.
"""
