"""A Git server: dulwich's smart HTTP application over the bare repository $GIT_SITE_REPO."""

import os

from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

application = make_wsgi_chain(DictBackend({"/repo.git": Repo(os.environ["GIT_SITE_REPO"])}))
