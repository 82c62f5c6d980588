raise RuntimeError("this import fails on purpose")
