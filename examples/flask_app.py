"""A guest book in Flask: forms, cookies, a signed session, redirects.

    pip install flask
    rwsgi flask_app:app --chdir examples --workers 2

The entries live in the memory of one worker; use a database for more than an example.
"""

import os

from flask import Flask, redirect, render_template_string, request, session, url_for

app = Flask(__name__)
# Sessions must be readable by every worker: one key for all, from outside in production.
app.secret_key = os.environ.get("SECRET_KEY", "only-for-this-example")

PAGE = """<!doctype html>
<title>Guest book</title>
<h1>Guest book</h1>
{% if name %}<p>Signed in as {{ name }}. <a href="{{ url_for('sign_out') }}">Sign out</a></p>{% endif %}
<form method="post" action="{{ url_for('sign') }}">
  <input name="name" placeholder="Your name" value="{{ name or '' }}" required>
  <input name="text" placeholder="A line" required>
  <button>Sign</button>
</form>
<ul>{% for who, text in entries %}<li><b>{{ who }}</b>: {{ text }}</li>{% endfor %}</ul>
"""

entries = []


@app.get("/")
def index():
    return render_template_string(PAGE, entries=entries, name=session.get("name"))


@app.post("/sign")
def sign():
    session["name"] = request.form["name"]
    entries.append((request.form["name"], request.form["text"]))
    return redirect(url_for("index"))


@app.get("/sign-out")
def sign_out():
    session.clear()
    return redirect(url_for("index"))
