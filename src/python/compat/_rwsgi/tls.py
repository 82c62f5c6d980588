"""The SSLContext of a configuration, and `gunicorn.socket` of connections that are secured.

Sessions are `ssl`'s own, over memory; the server moves the bytes. An application that takes a
connection over gets a `Socket` that moves them itself.
"""

import os
import socket
import ssl
import threading

from .server import Wrong, _format


def secure(hooks, directory):
    """The context for the configuration of `hooks`; files are looked for from `directory`."""
    cfg = hooks.cfg
    for name in ("certfile", "keyfile", "ca_certs"):
        _check_file(name, getattr(cfg, name), directory)
    try:
        made = cfg.ssl_context(cfg, lambda: default_context(cfg, directory))
    except Wrong:
        raise
    except BaseException as error:
        # Without the frame of this function.
        error = error.with_traceback(error.__traceback__.tb_next)
        _log("error", f"Exception in ssl_context hook\n{_format(error)}")
        raise Wrong("ssl_context", f"the hook raised {type(error).__name__}: {error}") from None
    if not isinstance(made, ssl.SSLContext):
        raise Wrong("ssl_context", f"the hook returned no ssl.SSLContext but {made!r}")
    return made


def _check_file(name, path, directory):
    if path:
        try:
            with open(os.path.join(directory, path), "rb"):
                pass
        except FileNotFoundError:
            raise Wrong(name, f"{path!r} does not exist") from None
        except OSError as error:
            raise Wrong(name, f"{path!r} cannot be read: {error.strerror}") from None


def default_context(cfg, directory):
    """The context there is without a hook: Gunicorn's default_ssl_context_factory."""

    def found(path):
        return os.path.join(directory, path) if path else None

    if cfg.cert_reqs and not cfg.ca_certs:
        _log("warning", "cert_reqs is set without ca_certs: no client's certificate holds unless a hook ssl_context says whose does")
    if not cfg.certfile:
        raise Wrong("keyfile", "a key is of no use without its certificate: set certfile, too")
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=found(cfg.ca_certs))
    except ssl.SSLError as error:
        raise Wrong("ca_certs", f"{cfg.ca_certs!r} holds no certificates (PEM): {_reason(error)}") from None
    _load(context, cfg, found)
    context.verify_mode = ssl.VerifyMode(cfg.cert_reqs)
    if cfg.ciphers:
        try:
            context.set_ciphers(cfg.ciphers)
        except ssl.SSLError as error:
            raise Wrong("ciphers", f"{cfg.ciphers!r} selects no cipher suites: {_reason(error)}") from None
    # A client could have keys agreed upon again and again (TLS 1.2; OpenSSL 3 lets nobody do so).
    context.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context, cfg, found):
    key = "keyfile" if cfg.keyfile else "certfile"
    shown = getattr(cfg, key)

    def no_passphrase():
        raise Wrong(key, f"the key in {shown!r} has a passphrase: nobody could type it; store it without one")

    try:
        context.load_cert_chain(found(cfg.certfile), found(cfg.keyfile), no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise Wrong(key, f"the key in {shown!r} is not that of the certificate in {cfg.certfile!r}") from None
        name, path, what = "certfile", cfg.certfile, "certificate"
        if _has_certificate(found(cfg.certfile)):
            name, path, what = key, shown, "private key"
        raise Wrong(name, f"{path!r} holds no {what} that OpenSSL can use (PEM): {_reason(error)}") from None


def _has_certificate(path):
    """Whether it is not the certificate that is at fault."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _reason(error):
    return str(error).partition(" (_ssl.c")[0]


class Shared:
    """What all handles of one connection share: the session, and who uses it."""

    def __init__(self, inner, incoming, outgoing, lock, ragged):
        self.inner = inner
        self.incoming = incoming
        self.outgoing = outgoing
        # A session is used by one thread at a time, for moments; so is each direction of the socket.
        self.lock = lock
        self.reading = threading.Lock()
        self.writing = threading.Lock()
        self.ragged = ragged
        #: Ciphertext the socket has not taken.
        self.unsent = b""
        #: How often there was ciphertext from the peer, or its end.
        self.fed = 0
        self.ended = False


class Socket(ssl.SSLSocket):
    """A connection the application has taken over, or only looks at: an `ssl.SSLSocket` on a session
    that the server has begun.

    Unlike OpenSSL's own, it can be used by a thread that reads and one that writes at a time.
    """

    def __init__(self, whole, inner, incoming, outgoing, lock, ragged, fileno):
        self._adopt(whole, Shared(inner, incoming, outgoing, lock, ragged), fileno)

    def _adopt(self, whole, shared, fileno):
        socket.socket.__init__(self, fileno=fileno)
        self._whole = whole
        self._shared = shared
        # What the methods of ssl.SSLSocket look at.
        self._context = whole.context
        self._session = None
        self._closed = False
        self._sslobj = shared.inner
        self._connected = True
        self.server_side = True
        self.server_hostname = whole.server_hostname
        self.do_handshake_on_connect = False
        self.suppress_ragged_eofs = shared.ragged

    def dup(self):
        made = Socket.__new__(Socket)
        made._adopt(self._whole, self._shared, os.dup(self.fileno()))
        made.settimeout(self.gettimeout())
        return made

    def _push(self):
        """Sends what waits. The caller holds `writing`."""
        shared = self._shared
        with shared.lock:
            shared.unsent += shared.outgoing.read()
        try:
            while shared.unsent:
                shared.unsent = shared.unsent[socket.socket.send(self, shared.unsent) :]
        except BlockingIOError:
            raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "the socket takes no more") from None

    def _answer(self):
        """Sends what the session has to say by itself, if the socket takes it now."""
        with self._shared.writing:
            try:
                self._push()
            except ssl.SSLWantWriteError:
                pass

    def read(self, len=1024, buffer=None):
        shared = self._shared
        while True:
            with shared.lock:
                fed = shared.fed
                try:
                    if buffer is None:
                        found = shared.inner.read(len)
                    else:
                        found = shared.inner.read(len, buffer)
                except (ssl.SSLWantReadError, ssl.SSLZeroReturnError) as error:
                    over = shared.ended or isinstance(error, ssl.SSLZeroReturnError)
                    found = None if not over else b"" if buffer is None else 0
                answers = shared.outgoing.pending
            if answers:
                self._answer()
            if found is not None:
                return found
            self._feed(fed)

    def _feed(self, fed):
        """Waits for more ciphertext, unless another thread has brought some since."""
        shared = self._shared
        with shared.reading:
            if shared.fed != fed:
                return
            try:
                data = socket.socket.recv(self, 16384)
            except BlockingIOError:
                raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "nothing has come") from None
            with shared.lock:
                shared.fed += 1
                if data:
                    shared.incoming.write(data)
                elif shared.ragged:
                    # Told of it, the session could say nothing more.
                    shared.ended = True
                else:
                    shared.incoming.write_eof()

    def write(self, data):
        shared = self._shared
        with shared.writing:
            # What was encrypted has to go before anything else.
            self._push()
            with shared.lock:
                count = shared.inner.write(data)
            try:
                self._push()
            except ssl.SSLWantWriteError:
                # It goes with what follows, or with the next read.
                pass
        return count

    def send(self, data, flags=0):
        _no_flags(flags)
        with memoryview(data) as view, view.cast("B") as octets, octets[:65536] as part:
            return self.write(part) if part.nbytes else 0

    def sendall(self, data, flags=0):
        _no_flags(flags)
        with memoryview(data) as view, view.cast("B") as octets:
            for start in range(0, octets.nbytes, 65536):
                with octets[start : start + 65536] as part:
                    self.write(part)

    def sendfile(self, file, offset=0, count=None):
        return self._sendfile_use_send(file, offset, count)

    def recv(self, buflen=1024, flags=0):
        _no_flags(flags)
        return self.read(buflen)

    def recv_into(self, buffer, nbytes=None, flags=0):
        _no_flags(flags)
        with memoryview(buffer) as view, view.cast("B") as octets:
            return self.read(nbytes or octets.nbytes, octets) if octets.nbytes else 0

    def pending(self):
        with self._shared.lock:
            return self._shared.inner.pending()

    def do_handshake(self, block=False):
        """It is done."""

    def _leave(self):
        with self._shared.lock:
            try:
                self._shared.inner.shutdown()
            except ssl.SSLError:
                # It waits for the peer's word; ours is said.
                pass
        self._answer()

    def unwrap(self):
        self._leave()
        return self

    def shutdown(self, how):
        if how != socket.SHUT_RD:
            self._leave()
        socket.socket.shutdown(self, how)


def _no_flags(flags):
    if flags:
        raise ValueError("flags are not for connections that are secured")
