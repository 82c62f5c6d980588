"""The ways to name an application on the command line."""


def application(environ, start_response):
    return _answer(b"the default name", start_response)


def named(environ, start_response):
    return _answer(b"a name", start_response)


def _answer(body, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


class holder:
    class inner:
        @staticmethod
        def app(environ, start_response):
            return _answer(b"dotted", start_response)


def factory(*arguments, **named):
    said = repr((arguments, named)).encode()
    return lambda environ, start_response: _answer(said, start_response)


not_callable = 42


def returns_nothing():
    return None


def raises():
    raise LookupError("the factory's own failure")
