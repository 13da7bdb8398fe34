"""What is not as it was."""
