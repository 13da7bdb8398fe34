"""The flight recorder: the last minutes of one target in one file of fixed size."""
