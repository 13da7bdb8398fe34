"""The lab: throw-away servers that are broken on purpose, one fault at a time."""
