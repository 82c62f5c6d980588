"""The benchmark program; see benches/README.md."""
