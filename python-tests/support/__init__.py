"""What the tests share: a server under test, a strict HTTP client, patient conditions."""
