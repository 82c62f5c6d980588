"""Names of what is wrong with a request. rwsgi refuses such requests before Python sees them."""


class ParseException(Exception):
    pass


class InvalidRequestLine(ParseException):
    pass


class InvalidRequestMethod(ParseException):
    pass


class InvalidHTTPVersion(ParseException):
    pass


class InvalidHeader(ParseException):
    pass


class InvalidHeaderName(ParseException):
    pass


class LimitRequestLine(ParseException):
    pass


class LimitRequestHeaders(ParseException):
    pass


class ForbiddenProxyRequest(ParseException):
    pass


class NoMoreData(IOError):
    pass
