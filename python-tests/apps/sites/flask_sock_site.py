"""An echo over WebSocket, as the documentation of Flask-Sock has it."""

import time

from flask import Flask
from flask_sock import Sock

application = Flask(__name__)
sock = Sock(application)


@application.route("/")
def index():
    return "plain"


@application.route("/doze")
def doze():
    while True:
        time.sleep(0.05)


@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(ws.receive())
