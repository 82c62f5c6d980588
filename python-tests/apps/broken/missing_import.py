
application = None
