"""Names of the master's module."""

from _rwsgi.server import Arbiter as _Arbiter


class Arbiter(_Arbiter):
    """Only what hooks are called with; a program is run by its application's `run()`."""

    WORKER_BOOT_ERROR = 3
    APP_LOAD_ERROR = 4

    def __init__(self, app):
        self.app_given = app
        super().__init__(app.cfg, None)

    def run(self):
        self.app_given.run()
