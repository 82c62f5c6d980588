"""Werkzeug's ProxyFix: the application trusts two proxies, whatever the server thinks of them."""

from werkzeug.middleware.proxy_fix import ProxyFix

from wrapped.site import make

site = make()
application = ProxyFix(site, x_for=2, x_proto=1, x_host=1, x_port=1, x_prefix=1)
