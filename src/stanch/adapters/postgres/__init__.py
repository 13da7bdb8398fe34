"""PostgreSQL itself: probing the wire, keeping sessions, launching scratch servers."""
