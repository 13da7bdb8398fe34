"""Send one request that policy names, and see that it did its work."""
