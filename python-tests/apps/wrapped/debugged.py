"""Werkzeug's debugger, as for development.

    rwsgi wrapped.debugged --workers 1
"""

from werkzeug.debug import DebuggedApplication

from wrapped.site import make

site = make()
site.config["PROPAGATE_EXCEPTIONS"] = True
application = DebuggedApplication(site, evalex=True, pin_security=False)
