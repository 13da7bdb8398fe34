"""What a server counts, looked at twice from one session."""
