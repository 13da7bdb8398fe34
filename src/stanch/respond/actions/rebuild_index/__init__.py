"""Build one invalid index anew, beside those who use its table."""
