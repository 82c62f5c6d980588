"""What environ holds."""

from _rwsgi import FileWrapper
