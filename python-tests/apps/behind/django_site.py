"""The Django site of test_frameworks.py, and what test_proxies.py asks for beside it."""

import os

from behind import FILES, gate, large, paced, seen
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path as route
from sites import django_site


def signed(get_response):
    def middleware(request):
        reply = get_response(request)
        reply.headers["X-Worker"] = str(os.getpid())
        return reply

    return middleware


def view_of_the_request(request):
    return JsonResponse({"url": request.build_absolute_uri(), "client": request.META["REMOTE_ADDR"], "secure": request.is_secure(),
                         "environ": seen(request.environ)})


def in_blocks(request):
    headers = {"X-Accel-Buffering": "no"} if "unbuffered" in request.GET else {}
    return StreamingHttpResponse(paced(), content_type="text/plain", headers=headers)


def at_length(request):
    return StreamingHttpResponse(large(), content_type="application/octet-stream")


def held(request):
    gate()
    return HttpResponse("waited")


def elsewhere(request):
    return HttpResponse("not this", headers={"X-Accel-Redirect": "/protected/asset.bin"}, content_type="application/octet-stream")


# WhiteNoise serves /asset.bin.
settings.WHITENOISE_ROOT = FILES
settings.MIDDLEWARE[:0] = [f"{__name__}.signed", "whitenoise.middleware.WhiteNoiseMiddleware"]
django_site.urlpatterns += [route("seen", view_of_the_request), route("paced", in_blocks), route("large", at_length),
                            route("wait", held), route("elsewhere", elsewhere)]
app = get_wsgi_application()
