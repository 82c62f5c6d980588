"""A small Django application, in one file."""

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use: nothing is signed here",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


def hello(request):
    return JsonResponse({"name": request.GET.get("name", "world"), "agent": request.headers.get("User-Agent", "")})


urlpatterns = [path("hello", hello)]
app = get_wsgi_application()
