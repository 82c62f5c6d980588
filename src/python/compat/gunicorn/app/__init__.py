"""Gunicorn, provided by rwsgi."""
