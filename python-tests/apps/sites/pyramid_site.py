"""The sites' common contract (see test_frameworks.py) in Pyramid."""

import hashlib

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory


def index(request):
    return Response("Hello from Pyramid", content_type="text/plain")


def form(request):
    return {"method": request.method, "query": request.GET.get("q"), "name": request.POST.get("name"), "many": request.POST.getall("many")}


def login(request):
    request.session["name"] = request.POST["name"]
    return HTTPSeeOther("/me")


def me(request):
    return {"name": request.session.get("name")}


def logout(request):
    request.session.invalidate()
    return HTTPSeeOther("/me")


def cookies(request):
    request.response.set_cookie("one", "1")
    request.response.set_cookie("two", "second value", httponly=True)
    return {"seen": dict(request.cookies)}


def upload(request):
    file = request.POST["file"]
    data = file.file.read()
    return {"name": file.filename, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "note": request.POST["note"]}


def raw(request):
    return {"size": len(request.body), "sha256": hashlib.sha256(request.body).hexdigest()}


def stream(request):
    return Response(app_iter=(b"%d\n" % n for n in range(int(request.GET["to"]))), content_type="text/plain")


def file(request):
    return FileResponse(__file__, request=request, content_type="text/x-python")


def path(request):
    return {"path": "/".join(request.matchdict["rest"])}


def error(request):
    raise RuntimeError("a view's own failure")


def main():
    with Configurator(session_factory=SignedCookieSessionFactory("a test's key")) as config:
        for view in (form, login, me, logout, cookies, upload, raw, stream, file, error):
            config.add_route(view.__name__, f"/{view.__name__}")
            config.add_view(view, route_name=view.__name__, renderer="json")
        config.add_route("index", "/")
        config.add_view(index, route_name="index")
        config.add_route("path", "/path/*rest")
        config.add_view(path, route_name="path", renderer="json")
        return config.make_wsgi_app()
