"""Logging."""

from _rwsgi.logger import CONFIG_DEFAULTS, SYSLOG_FACILITIES, Logger, SafeAtoms, loggers, parse_syslog_address

Logger.__module__ = SafeAtoms.__module__ = __name__
