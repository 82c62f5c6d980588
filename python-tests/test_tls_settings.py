"""What TLS is made of: certificates, keys, what clients have to show, the hook `ssl_context`; and what
happens when it is wrong, or changes."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from support.server import eventually
from support.tls import Authority, name_of, openssl
from support.twins import twins  # noqa: F401
from support.wire import Wire

APP = "secured:application"
V2, V3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def other(authority):
    return authority.issue("other")


def wire(server, context, **more) -> Wire:
    return Wire(server.address, tls=context, **more)


def refused(serve, *args, app=APP) -> tuple[int, str]:
    """How a server ends that does not start, and what it says."""
    server = serve(app, *args, listens=False)
    status = server.wait()
    said = server.log.wait_end()
    server.finished = True
    assert server.listening == []
    return status, said


def test_the_key_may_be_in_the_certificates_file(serve, authority, site, tmp_path):
    both = tmp_path / "both.pem"
    both.write_text(site.pem.read_text() + site.key.read_text())
    server = serve(APP, "--certfile", both)
    with wire(server, authority.client()) as it:
        assert it.get("/").status == 200


def test_a_path_counts_from_the_directory_of_the_application(serve, authority, tmp_path):
    site = authority.issue("moved")
    (tmp_path / "site.pem").write_text(site.pem.read_text() + site.key.read_text())
    (tmp_path / "app.py").write_text("from wsgiref.simple_server import demo_app as application\n")
    server = serve("app", "--certfile", "site.pem", chdir=tmp_path)
    with wire(server, authority.client()) as it:
        assert it.get("/").status == 200


def test_rwsgi_toml_and_variables(serve, authority, site, tmp_path):
    (tmp_path / "rwsgi.toml").write_text(f'certfile = "{site.pem}"\nciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"\n')
    server = serve(APP, cwd=tmp_path, env={"RWSGI_KEYFILE": str(site.key)})
    with wire(server, authority.client(V2)) as it:
        assert it.socket.cipher()[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"
    context = authority.client(V2)
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    with pytest.raises(ssl.SSLError):
        wire(server, context)


@pytest.mark.parametrize("required", ["1", "2"])
def test_clients_show_certificates(serve, authority, site, required, tmp_path):
    server = serve(APP, *site.flags, "--cert-reqs", required, "--ca-certs", authority.pem)
    alice = authority.issue("alice", "alice")
    for version in (V2, V3):
        with wire(server, authority.client(version, alice)) as it:
            for _ in range(2):
                said = json.loads(it.get("/client").body)
                assert said["subject"] == {"commonName": "alice"} and said["binary"] and said["is"] and said["fileno"]
                assert said["version"] == it.socket.version() and said["cipher"] == it.socket.cipher()[0]
            assert it.get("/").status == 200, "looking takes nothing"

    def anonymous(version, shows=None):
        with wire(server, authority.client(version, shows)) as it:
            return json.loads(it.get("/client").body)["subject"]

    stranger = Authority(tmp_path, "stranger").issue("mallory", "mallory")
    for version in (V2, V3):
        # Somebody else's is refused, whatever is required; with TLS 1.3 the client is told after its handshake.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            anonymous(version, stranger)
        if required == "1":
            assert anonymous(version) is None
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                anonymous(version)
    server.log.wait("TLS handshake failed: .*certificate verify failed")


def test_the_names_of_the_module_ssl(configured, authority, site):
    server = configured.start(f"""
        import ssl
        certfile, keyfile, ca_certs = {str(site.pem)!r}, {str(site.key)!r}, {str(authority.pem)!r}
        cert_reqs = ssl.CERT_REQUIRED
        ssl_version = ssl.PROTOCOL_TLS_SERVER
        do_handshake_on_connect = True
        def when_ready(server):
            note("ready", bool(server.cfg.is_ssl), server.cfg.cert_reqs, sorted(server.cfg.ssl_options), str(server.LISTENERS[0]))
    """, app=APP)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with wire(server, authority.client()) as it:
            it.get("/")
    with wire(server, authority.client(shows=site)) as it:
        assert it.get("/").status == 200
    assert configured.wait_note("ready")[2:] == [True, 2, [
        "ca_certs", "cert_reqs", "certfile", "ciphers", "do_handshake_on_connect", "keyfile", "ssl_version", "suppress_ragged_eofs",
    ], server.listening[0]]


HOOK = """
import os, ssl
certfile, keyfile = {certfile!r}, {keyfile!r}
"""


def test_the_hook(configured, authority, site):
    """As Gunicorn's documentation has it, told what it is called with."""
    server = configured.start(HOOK.format(certfile=str(site.pem), keyfile=str(site.key)) + """
def ssl_context(conf, default_ssl_context_factory):
    import ssl
    context = default_ssl_context_factory()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    note("context", conf.certfile == certfile, conf.workers, type(context).__name__, context.verify_mode == ssl.CERT_NONE)
    return context
""", "--workers", "2", app=APP)
    with wire(server, authority.client(V3)) as it:
        assert it.get("/").status == 200
    with pytest.raises(ssl.SSLError):
        wire(server, authority.client(V2))
    [(pid, _, *said)] = configured.notes("context")
    assert said == [True, 2, "SSLContext", True]
    assert pid == server.pid, "in the master, for all workers"
    server.kill(signal.SIGHUP)
    configured.wait_note("context", 2)


def test_a_hook_that_answers_to_names(configured, authority, site, other):
    """Server Name Indication: another certificate for another name."""
    server = configured.start(HOOK.format(certfile=str(site.pem), keyfile=str(site.key)) + f"""
def ssl_context(conf, default_ssl_context_factory):
    context, second = default_ssl_context_factory(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    second.load_cert_chain({str(authority.issue("second", "second").pem)!r}, {str(authority.directory / "second.key")!r})
    def choose(sock, name, first):
        note("asked", name, type(sock).__name__)
        if name == "second":
            sock.context = second
        if name == "third":
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    context.sni_callback = choose
    return context
""", app=APP)
    for name in ("test", "second"):
        with socket.create_connection(server.address, 30) as raw:
            with authority.client().wrap_socket(raw, server_hostname=name) as it:
                assert dict(pair for (pair,) in it.getpeercert()["subject"]) == {"commonName": name}
    with socket.create_connection(server.address, 30) as raw:
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            authority.client().wrap_socket(raw, server_hostname="third")
    assert [note[2] for note in configured.notes("asked")] == ["test", "second", "third"]


def test_the_module_gunicorn_sock(configured, authority, site):
    """A configuration that makes its own context from Gunicorn's function."""
    server = configured.start(HOOK.format(certfile=str(site.pem), keyfile=str(site.key)) + """
from gunicorn import sock
def ssl_context(conf, default_ssl_context_factory):
    note("made", isinstance(default_ssl_context_factory(), ssl.SSLContext), sock.is_http2_negotiated(None))
    return default_ssl_context_factory()
def post_worker_init(worker):
    note("again", isinstance(sock.ssl_context(worker.cfg), ssl.SSLContext))
""", "--gunicorn-module", "always", app=APP)
    with wire(server, authority.client()) as it:
        assert it.get("/").status == 200
    assert configured.wait_note("made")[2:] == [True, False]
    assert configured.wait_note("again")[2:] == [True]


def test_the_same_context_as_gunicorns(twins, site, authority):  # noqa: F811
    """What the hook is given, and what the default factory makes of it."""
    configuration = HOOK.format(certfile=str(site.pem), keyfile=str(site.key)) + f"""
import json
ca_certs, cert_reqs, ciphers = {str(authority.pem)!r}, ssl.CERT_OPTIONAL, "ECDHE+AESGCM"
def ssl_context(conf, default_ssl_context_factory):
    context = default_ssl_context_factory()
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps([os.getpid(), "context", conf.certfile, conf.keyfile, conf.ca_certs, conf.cert_reqs, conf.ciphers,
            conf.is_ssl, conf.suppress_ragged_eofs, conf.do_handshake_on_connect, context.protocol.name, context.verify_mode.name,
            context.check_hostname, context.minimum_version.name, context.maximum_version.name, int(context.verify_flags),
            [cipher["name"] for cipher in context.get_ciphers()], len(context.get_ca_certs()),
            int(context.options & ~getattr(ssl, "OP_NO_RENEGOTIATION", 0))]) + "\\n")
    return context
"""

    def play(twin):
        server = twin.start()
        with wire(server, authority.client(shows=site)) as it:
            scheme = json.loads(it.get("/").body)["wsgi.url_scheme"]
        return scheme, twin.notes("context")[0][1:], server.listening[0].partition(":")[0]

    theirs, ours = twins(play, configuration)
    assert ours == theirs


@pytest.fixture(scope="module")
def wrong(tmp_path_factory, authority, site, other):
    """Flags that are wrong, by name, and what is said of them."""
    directory = tmp_path_factory.mktemp("wrong")
    garbage = directory / "garbage.pem"
    garbage.write_text("no certificate\n")
    secret = directory / "secret.key"
    openssl("ec", "-in", site.key, "-aes128", "-passout", "pass:x", "-out", secret)
    nothing = directory / "nothing.pem"
    certificate, key = ["--certfile", site.pem], ["--keyfile", site.key]
    return {
        "no certificate": (["--certfile", nothing, *key], f"certfile (command line, --certfile): '{nothing}' does not exist"),
        "no key": ([*certificate, "--keyfile", nothing], f"keyfile (command line, --keyfile): '{nothing}' does not exist"),
        "a directory": ([*certificate, "--keyfile", directory], "cannot be read: Is a directory"),
        "a key alone": (key, "keyfile (command line, --keyfile): a key is of no use without its certificate: set certfile, too"),
        "a certificate alone": (certificate, f"certfile (command line, --certfile): '{site.pem}' holds no private key"),
        "garbage": (["--certfile", garbage, *key], f"certfile (command line, --certfile): '{garbage}' holds no certificate"),
        "garbage for a key": ([*certificate, "--keyfile", garbage], f"keyfile (command line, --keyfile): '{garbage}' holds no private key"),
        "another's key": (["--certfile", other.pem, *key],
                          f"keyfile (command line, --keyfile): the key in '{site.key}' is not that of the certificate in '{other.pem}'"),
        "a passphrase": ([*certificate, "--keyfile", secret],
                         f"keyfile (command line, --keyfile): the key in '{secret}' has a passphrase: nobody could type it"),
        "ciphers": ([*certificate, *key, "--ciphers", "NONSENSE"], "ciphers (command line, --ciphers): 'NONSENSE' selects no cipher suites"),
        "authorities": ([*certificate, *key, "--ca-certs", garbage, "--cert-reqs", "2"], "ca_certs (command line, --ca-certs): "),
        "a number": ([*certificate, *key, "--cert-reqs", "3"], 'cert_reqs = "3" (command line, --cert-reqs): too large; use 0 to 2'),
    }


@pytest.mark.parametrize("what", [
    "no certificate", "no key", "a directory", "a key alone", "a certificate alone", "garbage", "garbage for a key", "another's key",
    "a passphrase", "ciphers", "authorities", "a number",
])
@pytest.mark.parametrize("check", [False, True], ids=["start", "check"])
def test_what_is_wrong_is_said_at_the_start(serve, wrong, what, check):
    flags, expected = wrong[what]
    status, said = refused(serve, *flags, *(["--check-config"] if check else []))
    assert status == 1 and expected in said, said
    assert "Traceback" not in said


@pytest.mark.parametrize("hook, expected", [
    ("raise ValueError('on purpose')", "ssl_context (gunicorn.conf.py line 5): the hook raised ValueError: on purpose"),
    ("return None", "ssl_context (gunicorn.conf.py line 5): the hook returned no ssl.SSLContext but None"),
])
def test_a_hook_that_fails(configured, site, hook, expected):
    configured.write(HOOK.format(certfile=str(site.pem), keyfile=str(site.key)).lstrip() + f"""
# Line 4.
def ssl_context(conf, factory):
    {hook}
""")
    server = configured.start(None, app=APP, listens=False)
    assert server.wait() == 1
    said = server.log.wait_end()
    server.finished = True
    assert expected in said
    assert ("Exception in ssl_context hook" in said) == ("raise" in hook) and "<rwsgi>" not in said


def test_a_hook_of_the_wrong_shape(configured, site):
    configured.write(HOOK.format(certfile=str(site.pem), keyfile=str(site.key)) + "def ssl_context(conf): pass\n")
    server = configured.start(None, app=APP, listens=False)
    assert server.wait() == 1
    assert "takes 1 arguments, and is called with 2: config, default_ssl_context_factory" in server.log.wait_end()
    server.finished = True


def test_certificates_nobody_can_vouch_for(serve, authority, site):
    server = serve(APP, *site.flags, "--cert-reqs", "2")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with wire(server, authority.client(shows=site)) as it:
            it.get("/")
    server.log.wait(r"WARNING\] cert_reqs is set without ca_certs")


def test_a_python_without_ssl(serve, site, tmp_path):
    (tmp_path / "ssl.py").write_text("import _there_is_none\n")
    server = serve(APP, *site.flags, listens=False, env={"PYTHONPATH": str(tmp_path)})
    assert server.wait() == 1
    said = server.log.wait_end()
    server.finished = True
    assert ("TLS (certfile, keyfile or the hook ssl_context) needs the module ssl, which this Python cannot import "
            "(ModuleNotFoundError: No module named '_there_is_none'): run rwsgi with a Python that has it") in said


def test_a_configuration_that_is_right(serve, site):
    server = serve(APP, *site.flags, "--check-config", listens=False)
    assert server.wait() == 0
    server.finished = True
    assert "certfile (command line, --certfile) differs from Gunicorn's: read at the start and at each reload" in server.out.wait_end()


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["", "preload"])
def test_a_reload_takes_up_a_renewed_certificate(serve, authority, tmp_path, preload):
    first, second = authority.issue("first", "test"), authority.issue("renewed", "test")
    used = tmp_path / "used.pem"

    def use(certificate):
        # As a client of ACME does it: whole, or not at all.
        new = tmp_path / "new.pem"
        new.write_text(certificate.pem.read_text() + certificate.key.read_text())
        new.rename(used)

    def serial(context):
        with wire(server, context) as it:
            assert it.get("/").status == 200
            return it.socket.getpeercert()["serialNumber"]

    use(first)
    server = serve(APP, "--certfile", used, "--keep-alive", "30", *preload)
    before = serial(authority.client())
    with wire(server, authority.client()) as kept:
        pid = json.loads(kept.get("/").body)["pid"]
        use(second)
        assert serial(authority.client()) == before, "not before it is told to"
        server.kill(signal.SIGHUP)
        eventually(lambda: serial(authority.client()) != before, "the renewed certificate")
        try:
            kept.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            reply = kept.reply()
            assert json.loads(reply.body)["pid"] == pid
        except (AssertionError, ConnectionError, ssl.SSLError):
            # Idle connections of a worker that is replaced may be closed between two requests.
            kept.expect_end()


def test_a_reload_with_a_broken_certificate_changes_nothing(serve, authority, tmp_path):
    site = authority.issue("brittle")
    whole = site.pem.read_text()
    server = serve(APP, *site.flags)
    with wire(server, authority.client()) as it:
        pid = json.loads(it.get("/").body)["pid"]
    site.pem.write_text(whole[:200])
    server.kill(signal.SIGHUP)
    server.log.wait(r"Reload: certfile \(command line, --certfile\): .* holds no certificate")
    with wire(server, authority.client()) as it:
        assert json.loads(it.get("/").body)["pid"] == pid
    site.pem.unlink()
    server.kill(signal.SIGHUP)
    server.log.wait("Reload: .* does not exist")
    # And one that crashes is replaced by one that serves as it did.
    os.kill(pid, signal.SIGKILL)
    server.booted(2)
    with wire(server, authority.client()) as it:
        assert json.loads(it.get("/").body)["pid"] != pid
    site.pem.write_text(whole)
    server.kill(signal.SIGHUP)
    server.booted(3)


def test_a_reload_switches_it_on_and_off(configured, authority, site):
    on = f"certfile, keyfile = {str(site.pem)!r}, {str(site.key)!r}\n"
    server = configured.start("", app=APP)

    def seen_secured():
        try:
            with wire(server, authority.client()) as it:
                said = json.loads(it.get("/").body)
                return said["scheme"], said["secured"]
        except (ssl.SSLError, ConnectionError):
            return None

    def seen_plain():
        with Wire(server.address) as it:
            reply = it.get("/")
        # A worker of before says that it speaks TLS.
        if reply.status == 400:
            return None
        said = json.loads(reply.body)
        return said["scheme"], said["secured"]

    assert seen_plain() == ("http", False)
    configured.write(on)
    server.kill(signal.SIGHUP)
    server.log.wait("Listening at: https://")

    assert eventually(seen_secured, "TLS") == ("https", True)
    configured.write("workers = 1\n")
    server.kill(signal.SIGHUP)
    server.log.wait("Listening at: http://", 2)
    assert eventually(seen_plain, "plain HTTP") == ("http", False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_key_that_only_root_may_read(serve, authority, tmp_path):
    site = authority.issue("roots")
    site.key.chmod(0o600)
    # Loaded before privileges are dropped, with all a worker needs: that user may not be able to read this interpreter's library.
    (tmp_path / "rooted.py").write_text("import _rwsgi.request\nfrom secured import application\n")
    server = serve("rooted", *site.flags, "--preload", "--user", "nobody", "--worker-tmp-dir", "/tmp", "--pythonpath", tmp_path)
    with wire(server, authority.client()) as it:
        worker = json.loads(it.get("/").body)["pid"]
        assert name_of(it) == "test"
    assert f"\nUid:\t{subprocess.check_output(['id', '-u', 'nobody'], text=True).strip()}\t" in Path(f"/proc/{worker}/status").read_text()


def test_a_new_master_speaks_tls_too(serve, authority, site):
    server = serve(APP, *site.flags)
    server.booted()
    server.kill(signal.SIGUSR2)
    server.log.wait("Listening at: https://", 2)
    new = int(server.log.wait(r"Listening at: https://.* \((\d+)\)", 2)[1])
    server.booted(2)
    os.kill(server.pid, signal.SIGTERM)
    server.wait()
    try:
        with wire(server, authority.client()) as it:
            assert it.get("/").status == 200
    finally:
        os.kill(new, signal.SIGTERM)
        server.log.wait_end()
        server.finished = True
