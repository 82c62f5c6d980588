//! Whatever is done to the master, and in whatever order: no request is lost but those inside
//! a worker that was killed from outside.
//!
//! The order comes from a seed, printed when it fails; `RWSGI_SEED=n` replays it, and
//! `RWSGI_CHAOS_SECONDS=n` runs longer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them, its helpers included")]

mod master_support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use master_support::{Load, Server};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Not a test by itself: the master that the others start.
#[test]
fn be_master() {
    master_support::be_master();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_is_lost_in_a_storm() {
    let seed = number("RWSGI_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let span = Duration::from_secs(number("RWSGI_CHAOS_SECONDS").unwrap_or(8));
    let mut random = seed | 1;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut server = Server::start("workers=3 boot_timeout=500");
    let load = Load::on(&server.socket(), 4);
    let (start, mut kills) = (Instant::now(), 0);
    while start.elapsed() < span {
        match below(12) {
            0 => server.configure(&format!("workers=2 boot=app boot_timeout=500 preload={}", below(2))),
            1 => server.configure(&format!("workers=4 boot=hang boot_timeout=200 preload={}", below(2))),
            2 => server.misconfigure(),
            3..5 => {
                server.configure(&format!("workers={} boot=slow preload={}", 1 + below(4), below(2)));
            }
            5 => server.signal(Signal::SIGTTIN),
            6 => server.signal(Signal::SIGTTOU),
            7 => server.signal(Signal::SIGUSR1),
            8 => drop(server.ask("/retire")),
            9 => {
                let workers = server.workers();
                let victim = workers.get(below(workers.len().max(1) as u64) as usize);
                kills +=
                    victim.map_or(0, |pid| usize::from(kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok()));
            }
            _ => server.signal(Signal::SIGHUP),
        }
        std::thread::sleep(Duration::from_millis(below(200)));
    }
    server.configure("workers=2 mark=calm");
    server.signal(Signal::SIGHUP);
    server.until(&format!("calm after seed {seed}"), || {
        server.ask("/").is_some_and(|(_, _, mark)| mark == "calm") && server.workers().len() == 2
    });
    let answered = load.answered.load(Ordering::Relaxed);
    let (_, failed) = load.end();
    assert!(answered > 100, "{answered} answered, seed {seed}");
    // A worker here serves one request at a time: a kill costs one at most.
    assert!(failed <= kills, "{failed} of {answered} failed, {kills} kills, seed {seed}");
    assert_eq!(server.stop(), Some(0), "seed {seed}");
}
