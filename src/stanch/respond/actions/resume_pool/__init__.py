"""Let the clients of a paused pool go on."""
