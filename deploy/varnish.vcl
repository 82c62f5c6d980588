# Varnish in front of rwsgi: varnishd -f varnish.vcl -a :80
#
# Varnish does not end TLS. Let hitch or HAProxy do that in front of it, and say by the PROXY protocol
# who the client is and which port it asked: varnishd -a :80 -a 127.0.0.1:8443,PROXY

vcl 4.1;

import std;

backend default {
    # By unix socket: .path = "/run/rwsgi/app.sock"; in place of host and port.
    .host = "127.0.0.1";
    .port = "8000";
    .connect_timeout = 5s;
    # Longer than rwsgi's timeout, so that its 504 arrives.
    .first_byte_timeout = 65s;
    .between_bytes_timeout = 65s;
}

sub vcl_recv {
    # What the client claims about itself is replaced, not appended to.
    set req.http.X-Forwarded-For = client.ip;
    if (std.port(server.ip) == 443) {
        set req.http.X-Forwarded-Proto = "https";
    } else {
        set req.http.X-Forwarded-Proto = "http";
    }
}

sub vcl_hash {
    # The same page by http and by https is not the same page.
    hash_data(req.http.X-Forwarded-Proto);
}

sub vcl_backend_response {
    # Only what the application lets be kept is kept. Varnish's own default is two minutes for
    # everything that says nothing.
    if (!beresp.http.Cache-Control && !beresp.http.Expires) {
        set beresp.uncacheable = true;
        set beresp.ttl = 120s;
        return (deliver);
    }
}
