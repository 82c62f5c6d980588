"""What configurations and applications take from gunicorn.sock."""

import os
import ssl


def ssl_context(conf):
    """The context of a configuration, by way of its hook."""
    from _rwsgi import tls

    return conf.ssl_context(conf, lambda: tls.default_context(conf, os.getcwd()))


def ssl_wrap_socket(sock, conf):
    return ssl_context(conf).wrap_socket(
        sock,
        server_side=True,
        suppress_ragged_eofs=conf.suppress_ragged_eofs,
        do_handshake_on_connect=conf.do_handshake_on_connect,
    )


def get_negotiated_protocol(ssl_socket):
    if not isinstance(ssl_socket, ssl.SSLSocket):
        return None
    try:
        return ssl_socket.selected_alpn_protocol()
    except (AttributeError, ssl.SSLError):
        return None


def is_http2_negotiated(ssl_socket):
    return get_negotiated_protocol(ssl_socket) == "h2"
