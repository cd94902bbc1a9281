"""Durable state on SQLite or PostgreSQL, and the audit log that outlives it."""
