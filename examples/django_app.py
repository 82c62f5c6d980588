"""A whole Django project in one file: URLs, a form with CSRF protection, signed-cookie sessions.

    pip install django
    rwsgi django_app:application --chdir examples --workers 2

For a project made by `django-admin startproject mysite` the command is `rwsgi mysite.wsgi`.
"""

import os

from django import forms
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path
from django.utils.html import format_html

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "only-for-this-example"),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)


class Greeting(forms.Form):
    name = forms.CharField(max_length=40)


def index(request):
    form = Greeting(request.POST or None)
    if request.method == "POST" and form.is_valid():
        request.session["name"] = form.cleaned_data["name"]
        request.session["visits"] = 0
        return redirect("/")
    name = request.session.get("name", "stranger")
    request.session["visits"] = visits = request.session.get("visits", 0) + 1
    return HttpResponse(
        format_html(
            "<h1>Hello, {}</h1><p>Visit {}.</p><form method='post'>"
            "<input type='hidden' name='csrfmiddlewaretoken' value='{}'>{}<button>Greet me</button></form>",
            name, visits, get_token(request), form,
        )
    )


urlpatterns = [path("", index)]
application = get_wsgi_application()
