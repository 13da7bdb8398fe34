"""Let new transactions in one database begin read-only: a brake, and no lock."""
