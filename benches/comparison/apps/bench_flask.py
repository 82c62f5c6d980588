"""A small Flask application."""

from flask import Flask, request

app = Flask(__name__)


@app.get("/hello")
def hello():
    return {"name": request.args.get("name", "world"), "agent": request.headers.get("User-Agent", "")}
