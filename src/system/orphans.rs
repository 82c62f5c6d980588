//! What becomes of this process when its parent ends?
//!
//! Must not know who the parent is. The tie is lost with a change of user (prctl(2)), and does
//! not reach back: a parent that ended before is not noticed.

use std::io;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// What a process gets when its parent is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// SIGTERM: it may finish what it has.
    Term,
    /// SIGKILL: there is nothing to finish.
    Kill,
}

/// Ties this process to its parent, instead of any tie before.
pub fn end_with(tie: Tie) -> io::Result<()> {
    let signal = match tie {
        Tie::Term => Signal::SIGTERM,
        Tie::Kill => Signal::SIGKILL,
    };
    Ok(set_pdeathsig(signal)?)
}
