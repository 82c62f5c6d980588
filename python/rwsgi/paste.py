"""Serves what an ini file of Paste describes: ``[server:main] use = egg:rwsgi``, as with ``pserve``."""

from __future__ import annotations

from rwsgi._core import provide_gunicorn


def serve(app, global_conf, host="", port="", **settings):
    """The factory behind ``paste.server_runner``: *settings* are those of the section."""
    provide_gunicorn()
    from gunicorn.app.base import BaseApplication

    if host or port:
        settings["bind"] = [f"{host}:{port}" if port else host]
    settings.setdefault("proc_name", (global_conf or {}).get("__file__"))

    class Pasted(BaseApplication):
        def load_config(self):
            for name, value in settings.items():
                if value is not None:
                    self.cfg.set(name, value)

        def load(self):
            return app

    Pasted().run()
