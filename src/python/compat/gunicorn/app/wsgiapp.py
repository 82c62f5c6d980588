"""The program `gunicorn` itself."""

from gunicorn import util
from gunicorn.app.base import Application


class WSGIApplication(Application):
    app_uri = None

    def init(self, parser, opts, args):
        if args:
            self.app_uri = args[0]

    def load(self):
        return util.import_app(self.app_uri or self.cfg.wsgi_app)

    def run(self):
        from _rwsgi import application

        if getattr(self, "_command_line", None) is not None and type(self).load is WSGIApplication.load:
            application.main(self._command_line)
        else:
            application.run(self)


def run(prog=None):
    WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog=prog).run()


if __name__ == "__main__":
    run()
