"""Names as people give them, so that two runs of one fault share none of them by need."""

from __future__ import annotations

import random

TABLES = ("orders", "invoices", "payments", "customers", "events", "shipments", "sessions", "carts")
APPLICATIONS = ("shop-web", "checkout", "mailer", "api-7f9c", "billing", "crm", "mobile-backend")
JOBS = ("nightly-report", "etl-import", "cron-cleanup", "backfill-2024", "pg_batch", "analytics")
MIGRATIONS = ("alembic", "flyway", "liquibase", "django-migrate", "rails db:migrate")
PEOPLE = ("ann", "bo", "chris", "dana", "eli")


def table(rng: random.Random) -> str:
    """A table's name; with a number now and then, so that it is quoted by nobody and unique."""
    return rng.choice(TABLES) + rng.choice(("", "_v2", f"_{rng.randint(2019, 2026)}"))


def application(rng: random.Random) -> str:
    return rng.choice(APPLICATIONS)


def job(rng: random.Random) -> str:
    return rng.choice(JOBS)


def migration(rng: random.Random) -> str:
    return rng.choice(MIGRATIONS)


def person(rng: random.Random) -> str:
    return rng.choice(PEOPLE)
