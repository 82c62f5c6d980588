//! The master and its molds, with real processes: whose children the workers are, what a mold's
//! death costs, and that nobody stays behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them, its helpers included")]

mod master_support;

use std::fs;

use master_support::{Load, Server, is_alive};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Not a test by itself: the master that the others start.
#[test]
fn be_master() {
    master_support::be_master();
}

fn title(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn mold(server: &Server) -> Option<i32> {
    server.workers().into_iter().find(|pid| title(*pid).starts_with("rwsgi: mold [test]"))
}

fn workers(server: &Server) -> Vec<i32> {
    let children = server.workers().into_iter();
    children.filter(|pid| title(*pid).starts_with("rwsgi: worker [test]")).collect()
}

fn until_workers(server: &Server, count: usize) -> Vec<i32> {
    server.until(&format!("{count} workers"), || workers(server).len() == count);
    workers(server)
}

fn imports(server: &Server) -> usize {
    server.log().matches("imported").count()
}

#[test]
fn the_workers_of_a_mold_are_the_masters_children() {
    let mut server = Server::start("workers=3 preload=1 mark=a");
    let first = until_workers(&server, 3);
    let mold = mold(&server).unwrap();
    assert!(first.contains(&server.ask("/").unwrap().0));
    assert_eq!((imports(&server), server.ask("/").unwrap().2.as_str()), (1, "a"));
    kill(Pid::from_raw(first[0]), Signal::SIGKILL).unwrap();
    server.until_logged(&format!("Worker (pid:{}) was sent SIGKILL!", first[0]));
    server.until("a replacement", || workers(&server).iter().any(|pid| !first.contains(pid)));
    server.signal(Signal::SIGTTIN);
    until_workers(&server, 4);
    assert_eq!(imports(&server), 1);
    assert_eq!(server.stop(), Some(0));
    assert!(!is_alive(mold) && first.iter().all(|pid| !is_alive(*pid)));
    assert!(!server.log().contains("Reaped foreign"), "{}", server.log());
}

#[test]
fn a_mold_that_cannot_load_ends_a_first_start_with_its_code() {
    for (boot, code, text) in [("app", 4, "App failed to load."), ("boot", 3, "Worker failed to boot.")] {
        let mut server = Server::spawn(&format!("workers=3 preload=1 boot={boot}"));
        assert_eq!(server.wait(), Some(code));
        assert!(server.log().contains(text) && imports(&server) == 1);
    }
    let mut server = Server::spawn("preload=1 boot=hang boot_timeout=300");
    assert_eq!(server.wait(), Some(3));
    assert!(server.log().contains("MOLD BOOT TIMEOUT"));
}

#[test]
fn the_death_of_a_mold_costs_no_request() {
    let mut server = Server::start("workers=2 preload=1 boot=slow");
    let first = until_workers(&server, 2);
    let load = Load::on(&server.socket(), 3);
    let dead = mold(&server).unwrap();
    kill(Pid::from_raw(dead), Signal::SIGKILL).unwrap();
    server.until_logged(&format!("Mold (pid:{dead}) was sent SIGKILL! Its workers are not affected."));
    // Wanted before the next mold is ready.
    server.signal(Signal::SIGTTIN);
    let now = until_workers(&server, 3);
    assert!(first.iter().all(|pid| now.contains(pid)) && mold(&server).is_some_and(|pid| pid != dead));
    assert_eq!((load.end().1, imports(&server)), (0, 2));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_mold_that_stopped_is_replaced_when_it_is_needed() {
    let mut server = Server::start("workers=1 preload=1 boot_timeout=500");
    let stopped = mold(&server).unwrap();
    kill(Pid::from_raw(stopped), Signal::SIGSTOP).unwrap();
    server.signal(Signal::SIGTTIN);
    server.until_logged(&format!("Mold (pid:{stopped}) does not fork the worker it was asked for"));
    until_workers(&server, 2);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_reload_boots_a_new_mold_and_ends_the_old_one() {
    let mut server = Server::start("workers=2 preload=1 mark=a");
    let (old, first) = (mold(&server).unwrap(), until_workers(&server, 2));
    let load = Load::on(&server.socket(), 3);
    for (boot, failures) in [("app", 1), ("hang", 2)] {
        server.configure(&format!("workers=2 preload=1 mark=bad boot={boot} boot_timeout=300"));
        server.signal(Signal::SIGHUP);
        server.until("it fails", || server.log().matches("Reload failed").count() == failures);
        assert_eq!(server.ask("/").unwrap().2, "a");
    }
    assert_eq!((mold(&server), workers(&server)), (Some(old), first));
    server.configure("workers=2 preload=1 mark=b");
    server.signal(Signal::SIGHUP);
    server.until_logged("Reload complete");
    assert_eq!(server.ask("/").unwrap().2, "b");
    server.until("the end of the old mold", || !is_alive(old));
    server.configure("workers=2 mark=c");
    server.signal(Signal::SIGHUP);
    server.until("the last mold's end", || mold(&server).is_none());
    assert_eq!(server.ask("/").unwrap().2, "c");
    assert_eq!(load.end().1, 0);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn nobody_outlives_a_killed_master() {
    for config in ["workers=3 preload=1", "workers=1 preload=1 boot=hang boot_timeout=60000"] {
        let mut server = Server::spawn(config);
        server.until("the mold", || mold(&server).is_some());
        if !config.contains("hang") {
            until_workers(&server, 3);
        }
        let children = server.workers();
        server.signal(Signal::SIGKILL);
        server.wait();
        server.until("all gone", || children.iter().all(|pid| !is_alive(*pid)));
    }
}

#[test]
fn an_import_that_hangs_does_not_hold_up_a_stop() {
    let mut server = Server::spawn("preload=1 boot=hang boot_timeout=60000");
    server.until_logged("imported");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn logs_are_reopened_in_the_mold_too() {
    let mut server = Server::start("workers=1 preload=1");
    until_workers(&server, 1);
    server.signal(Signal::SIGUSR1);
    server.until("both reopen", || server.log().matches("logs reopened").count() == 2);
    assert_eq!(server.stop(), Some(0));
}
