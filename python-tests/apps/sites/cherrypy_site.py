"""The sites' common contract (see test_frameworks.py) in CherryPy: its tree as a WSGI application."""

import hashlib

import cherrypy
from cherrypy.lib.static import serve_file


class Root:
    @cherrypy.expose
    def index(self):
        return "Hello from CherryPy"

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def form(self, q=None, name=None, many=()):
        return {"method": cherrypy.request.method, "query": q, "name": name, "many": [many] if isinstance(many, str) else list(many)}

    @cherrypy.expose
    def login(self, name):
        cherrypy.session["name"] = name
        raise cherrypy.HTTPRedirect("/me", 303)

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def me(self):
        return {"name": cherrypy.session.get("name")}

    @cherrypy.expose
    def logout(self):
        cherrypy.session.pop("name", None)
        raise cherrypy.HTTPRedirect("/me", 303)

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def cookies(self):
        cherrypy.response.cookie["one"] = "1"
        cherrypy.response.cookie["two"] = "second value"
        return {"seen": {name: morsel.value for name, morsel in cherrypy.request.cookie.items()}}

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def upload(self, file, note):
        data = file.file.read()
        return {"name": file.filename, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "note": note}

    @cherrypy.expose
    @cherrypy.config(**{"request.process_request_body": False})
    @cherrypy.tools.json_out()
    def raw(self):
        # With the body's processing off CherryPy leaves it on the server's own input.
        data = cherrypy.request.rfile.read()
        return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    @cherrypy.expose
    @cherrypy.config(**{"response.stream": True})
    def stream(self, to):
        cherrypy.response.headers["Content-Type"] = "text/plain"
        return (b"%d\n" % n for n in range(int(to)))

    @cherrypy.expose
    def file(self):
        return serve_file(__file__, content_type="text/x-python")

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def path(self, *rest):
        return {"path": "/".join(rest)}

    @cherrypy.expose
    def error(self):
        raise RuntimeError("a view's own failure")


cherrypy.config.update({"engine.autoreload.on": False, "environment": "embedded", "log.screen": True})
app = cherrypy.tree.mount(Root(), "/", {"/": {"tools.sessions.on": True}})
