"""What starting, stopping and restarting a server share: which server it is, and would it start."""
