"""Let a pool open more server connections, as far as the server has some left."""
