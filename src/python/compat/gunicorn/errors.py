"""Exceptions."""


class HaltServer(BaseException):
    def __init__(self, reason, exit_status=1):
        super().__init__(reason, exit_status)
        self.reason = reason
        self.exit_status = exit_status

    def __str__(self):
        return f"<HaltServer {self.reason!r} {self.exit_status}>"


class ConfigError(Exception):
    """Something is wrong with the configuration."""


class AppImportError(Exception):
    """The application could not be loaded."""
