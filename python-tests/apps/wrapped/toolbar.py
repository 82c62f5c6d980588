"""Django with django-debug-toolbar and a database in SQLite (DATABASE names the file)."""

import os

from django.conf import settings

settings.configure(
    DEBUG=True,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="a test's key",
    ROOT_URLCONF=__name__,
    INTERNAL_IPS=["127.0.0.1"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.staticfiles", "debug_toolbar"],
    MIDDLEWARE=["debug_toolbar.middleware.DebugToolbarMiddleware", "django.middleware.gzip.GZipMiddleware",
                "django.middleware.common.CommonMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    STATIC_URL="/static/",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)

from django.core.wsgi import get_wsgi_application  # noqa: E402

# Django is set up by this; the rest needs it.
django_application = get_wsgi_application()

from django.contrib.auth.models import Group  # noqa: E402
from django.contrib.staticfiles.handlers import StaticFilesHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpResponse, StreamingHttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402

call_command("migrate", verbosity=0)


def groups(request):
    Group.objects.get_or_create(name="readers")
    return HttpResponse(f"<html><body>{Group.objects.count()} groups{' ' * 2000}</body></html>")


def stream(request):
    return StreamingHttpResponse((b"%d\n" % n for n in range(10_000)), content_type="text/plain")


urlpatterns = [path("", groups), path("stream", stream), path("__debug__/", include("debug_toolbar.urls"))]
application = StaticFilesHandler(django_application)
