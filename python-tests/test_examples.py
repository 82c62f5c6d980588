"""The framework examples do what their headers say."""

from __future__ import annotations

import re

import pytest
import requests
from support.server import EXAMPLES


@pytest.fixture
def browser():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_flask(serve, browser):
    server = serve("flask_app:app", chdir=EXAMPLES)
    page = browser.post(server.url("/sign"), data={"name": "Ada", "text": "<b>first</b>"})
    assert page.status_code == 200 and "Signed in as Ada" in page.text and "&lt;b&gt;first" in page.text
    assert "Signed in" not in browser.get(server.url("/sign-out")).text


def test_django(serve, browser):
    server = serve("django_app:application", "--workers", "2", chdir=EXAMPLES)
    page = browser.get(server.url())
    assert "Hello, stranger" in page.text
    token = re.search(r"name='csrfmiddlewaretoken' value='([^']+)'", page.text)[1]
    page = browser.post(server.url(), data={"name": "Ada", "csrfmiddlewaretoken": token})
    assert "Hello, Ada" in page.text and "Visit 1" in page.text
    assert "Visit 2" in browser.get(server.url()).text
    assert browser.post(server.url(), data={"name": "Eve"}).status_code == 403


def test_every_example_says_how_to_run_it():
    for path in EXAMPLES.glob("*.py"):
        header = path.read_text().split('"""')[1]
        assert re.search(rf"(rwsgi|cargo run --release --) {path.stem}:\w+ --chdir examples", header), path
