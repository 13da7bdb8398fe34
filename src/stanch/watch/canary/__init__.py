"""Whether writes work: one small row, written again and again."""
