//! The launcher: finds the interpreter the user means and hands over to it.
fn main() {}
