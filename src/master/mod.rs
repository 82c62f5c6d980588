//! Which processes should be alive, and what is done about it?

mod plan;
pub mod settings;
mod slots;

pub use crate::metrics::seat::Seat;
pub use settings::MasterSettings;

use crate::door::Runtime;

/// Reads the configuration again, for HUP. The message says which file, line and setting.
pub type Reload<'a> = dyn Fn() -> Result<MasterSettings, String> + 'a;

/// Runs the master until it is told to stop; returns the process's exit code.
pub fn run(settings: MasterSettings, runtime: &dyn Runtime, reload: &Reload<'_>) -> i32 {
    let _ = (settings, runtime, reload);
    0
}
