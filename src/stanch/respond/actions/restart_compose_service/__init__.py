"""Restart the containers of one service beside the server, which policy names."""
