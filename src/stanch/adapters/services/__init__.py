"""The services that use a database, asked over HTTP how they are."""
