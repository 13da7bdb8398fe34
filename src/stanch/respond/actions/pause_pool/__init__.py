"""Hold the clients of a pool back while what is behind it changes."""
