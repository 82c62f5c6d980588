"""WhiteNoise around an application that is not Django's. STATIC names the directory."""

import os

from whitenoise import WhiteNoise

from wrapped.site import make

application = WhiteNoise(make(), root=os.environ["STATIC"], prefix="/static/", max_age=60,
                         immutable_file_test=lambda path, url: ".hashed." in url)
