//! rwsgi with an application in Rust in place of Python's; takes rwsgi's options.
//! One of the floors of `benches/compare.py`.

mod fake;

use std::process::exit;
use std::sync::Arc;

fn main() {
    exit(rwsgi_core::root::main(std::env::args_os().skip(1).collect(), Arc::new(fake::Fake)));
}
