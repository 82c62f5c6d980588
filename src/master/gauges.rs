//! Who is told how many workers there are, and how many connections wait?
//!
//! Must not know: where the figures go.
//!
//! Invariant: costs nothing while nobody wants to know.

use std::os::fd::AsFd;
use std::time::Duration;

use super::perform::Hands;
use crate::system::accept_queue::accept_queue;
use crate::system::clock::Moment;

/// How often the backlog is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What was told last.
#[derive(Debug, Default)]
pub struct Gauges {
    workers: Option<usize>,
    next_look: Option<Moment>,
}

impl Gauges {
    /// Tells what has changed, and what is due.
    pub fn tell(&mut self, hands: &Hands<'_>, workers: usize, now: Moment) {
        let settings = &hands.era.settings;
        if let Some(count) = &settings.count_workers
            && self.workers.replace(workers) != Some(workers)
        {
            (count.0)(workers as u64);
        }
        let Some(count) = &settings.count_backlog else {
            self.next_look = None;
            return;
        };
        if self.next_look.is_none_or(|due| due <= now) {
            self.next_look = Some(now + EVERY);
            let waiting = hands.era.listeners.iter().map(|bound| accept_queue(bound.listener.as_fd()));
            (count.0)(waiting.flatten().map(|(waiting, _)| u64::from(waiting)).sum());
        }
    }

    /// When it wants to look again.
    pub fn due(&self) -> Option<Moment> {
        self.next_look
    }
}
