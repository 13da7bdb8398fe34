"""Questions of a check-up and what their answers mean."""
