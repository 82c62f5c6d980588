"""The sites' common contract (see test_frameworks.py) in Django, in one file."""

import hashlib

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import path as route

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="a test's key",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    LOGGING={"version": 1, "disable_existing_loggers": False, "handlers": {"stderr": {"class": "logging.StreamHandler"}},
             "root": {"handlers": ["stderr"]}},
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.common.CommonMiddleware"],
)


class SeeOther(HttpResponseRedirect):
    status_code = 303


def index(request):
    return HttpResponse("Hello from Django")


def form(request):
    return JsonResponse({"method": request.method, "query": request.GET.get("q"), "name": request.POST.get("name"),
                         "many": request.POST.getlist("many")})


def login(request):
    request.session["name"] = request.POST["name"]
    return SeeOther("/me")


def me(request):
    return JsonResponse({"name": request.session.get("name")})


def logout(request):
    request.session.flush()
    return SeeOther("/me")


def cookies(request):
    reply = JsonResponse({"seen": request.COOKIES})
    reply.set_cookie("one", "1")
    reply.set_cookie("two", "second value", httponly=True)
    return reply


def upload(request):
    file = request.FILES["file"]
    data = file.read()
    return JsonResponse({"name": file.name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "note": request.POST["note"]})


def raw(request):
    digest, size = hashlib.sha256(), 0
    while data := request.read(65536):
        digest.update(data)
        size += len(data)
    return JsonResponse({"size": size, "sha256": digest.hexdigest()})


def stream(request):
    return StreamingHttpResponse((b"%d\n" % n for n in range(int(request.GET["to"]))), content_type="text/plain")


def file(request):
    return FileResponse(open(__file__, "rb"), content_type="text/x-python")


def path(request, rest):
    return JsonResponse({"path": rest})


def error(request):
    raise RuntimeError("a view's own failure")


urlpatterns = [route("", index), route("path/<path:rest>", path)]
urlpatterns += [route(view.__name__, view) for view in (form, login, me, logout, cookies, upload, raw, stream, file, error)]
app = get_wsgi_application()
