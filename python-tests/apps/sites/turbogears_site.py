"""The sites' common contract (see test_frameworks.py) in TurboGears 2."""

import hashlib

from tg import FullStackApplicationConfigurator, TGController, expose, redirect, request, response, session, use_wsgi_app
from webob.exc import HTTPSeeOther
from webob.multidict import MultiDict
from webob.static import FileApp


class Root(TGController):
    @expose(content_type="text/plain")
    def index(self):
        return "Hello from TurboGears"

    @expose("json")
    def form(self, **_):
        sent = request.POST if request.method == "POST" else MultiDict()
        return {"method": request.method, "query": request.GET.get("q"), "name": sent.get("name"), "many": sent.getall("many")}

    @expose()
    def login(self, name):
        session["name"] = name
        session.save()
        redirect("/me", redirect_with=HTTPSeeOther)

    @expose("json")
    def me(self):
        return {"name": session.get("name")}

    @expose()
    def logout(self):
        session.delete()
        redirect("/me", redirect_with=HTTPSeeOther)

    @expose("json")
    def cookies(self):
        response.set_cookie("one", "1")
        response.set_cookie("two", "second value", httponly=True)
        return {"seen": dict(request.cookies)}

    @expose("json")
    def upload(self, file, note):
        data = file.file.read()
        return {"name": file.filename, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "note": note}

    @expose("json")
    def raw(self):
        data = request.body_file.read()
        return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    @expose(content_type="text/plain")
    def stream(self, to):
        return (b"%d\n" % n for n in range(int(to)))

    @expose()
    def file(self):
        return use_wsgi_app(FileApp(__file__))

    @expose("json")
    def path(self, *rest):
        return {"path": "/".join(rest)}

    @expose()
    def error(self):
        raise RuntimeError("a view's own failure")


configurator = FullStackApplicationConfigurator()
configurator.update_blueprint({
    "root_controller": Root(),
    "renderers": ["json"],
    "default_renderer": "json",
    "serve_static": False,
    "errorpage.enabled": False,
    "i18n.enabled": False,
    "use_toscawidgets2": False,
    "session.type": "cookie",
    "session.validate_key": "a test's key",
    "session.data_serializer": "json",
})
app = configurator.make_wsgi_app({"debug": False})
