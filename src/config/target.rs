//! Which application does APP name?
//!
//! Must not know: Python's grammar beyond its outline; modules, files, what can be imported.
//!
//! Invariants:
//! 1. `module` is a dotted name; `object` is a dotted name, or one followed by a call in brackets.

/// `MODULE`, `MODULE:NAME` or `MODULE:factory(arguments)`, checked for shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppTarget {
    /// What to import.
    pub module: String,
    /// What to take from it, `application` where nothing was said: attributes, or a call.
    pub object: String,
}
