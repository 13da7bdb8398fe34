"""What one session is asked for a diagnosis."""
