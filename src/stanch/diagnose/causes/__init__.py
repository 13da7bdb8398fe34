"""The causes themselves, one module per kind of story."""
