//! Which variables has the configuration put into the environment (`raw_env`), and what was there
//! before?
//!
//! Must not know: who reads them.
//!
//! Invariants:
//! 1. What one configuration has set is gone when another one's is set: in the master, and in a
//!    worker forked while the one before was in force.
//! 2. A configuration is read in the environment the server was started in, also at a reload.

use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

use crate::door::Configures;

/// Name and value, which need not be text; `None`: there is no such variable.
type Variable = (String, Option<OsString>);

/// What the variables were that are set now, in the order they were set in.
static BEFORE: Mutex<Vec<Variable>> = Mutex::new(Vec::new());

/// Sets these variables, and no longer those that were set before.
pub fn set(runtime: &dyn Configures, variables: &[(String, String)]) {
    let values = variables.iter().map(|(name, value)| (name.clone(), Some(OsString::from(value))));
    exchange(runtime, values.collect());
}

/// Does `work` without them.
pub fn without<T>(runtime: &dyn Configures, work: impl FnOnce() -> T) -> T {
    let set = exchange(runtime, Vec::new());
    let done = work();
    exchange(runtime, set);
    done
}

/// Sets these in place of those that are set, which come back.
fn exchange(runtime: &dyn Configures, variables: Vec<Variable>) -> Vec<Variable> {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut gone = Vec::new();
    while let Some((name, value)) = before.pop() {
        gone.push((name.clone(), std::env::var_os(&name)));
        runtime.set_env(&name, value.as_deref());
    }
    gone.reverse();
    for (name, value) in variables {
        before.push((name.clone(), std::env::var_os(&name)));
        runtime.set_env(&name, value.as_deref());
    }
    gone
}
