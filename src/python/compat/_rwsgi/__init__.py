"""The server's own Python code: what configuration files and hooks see of it.

Held by the server's binary and imported from there. The module `gunicorn` that is provided where
the real one is missing is made of the same parts.
"""
