"""An echo over WebSocket, as the documentation of Flask-Sock has it."""

from flask import Flask
from flask_sock import Sock

application = Flask(__name__)
sock = Sock(application)


@application.route("/")
def index():
    return "plain"


@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(ws.receive())
