"""``python -m rwsgi``: the same as the command, in exactly this interpreter."""

from __future__ import annotations

import os
import sys

from rwsgi import main

# `-m` puts the current directory first, for good. Which directory is first is the server's to say
# (--chdir), as it is with the command.
if not getattr(sys.flags, "safe_path", False) and sys.path and sys.path[0] == os.getcwd():
    del sys.path[0]
sys.argv[0] = "rwsgi"
sys.exit(main())
