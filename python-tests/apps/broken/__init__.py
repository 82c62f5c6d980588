"""Modules that fail on import, each in its own way."""
