//! The master's life with real processes: start, death of workers, reload, stop, upgrade.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them, its helpers included")]

mod master_support;

use std::fs;
use std::time::{Duration, Instant};

use master_support::{Load, Server, children, is_alive};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Not a test by itself: the master that the others start.
#[test]
fn be_master() {
    master_support::be_master();
}

#[test]
fn it_serves_and_leaves_nothing_behind() {
    let mut server = Server::start("workers=3");
    let workers = server.until_workers(3);
    assert_eq!(fs::read_to_string(server.path("pid")).unwrap(), format!("{}\n", server.pid()));
    let (pid, generation, _) = server.ask("/").unwrap();
    assert!(workers.contains(&pid) && generation == 1);
    let comm = fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).unwrap();
    assert!(comm.starts_with("rwsgi: master [test]"), "{comm}");
    assert_eq!(server.stop(), Some(0));
    assert!(!server.path("pid").exists() && !server.socket().exists());
    assert!(workers.iter().all(|pid| !is_alive(*pid)));
    for text in
        ["Listening at: unix:", "Booting worker with pid: ", "Handling signal: term", "Shutting down: Master"]
    {
        assert!(server.log().contains(text), "{text}");
    }
}

#[test]
fn a_failing_first_boot_ends_the_server_with_its_code() {
    for (boot, code, text) in [("app", 4, "App failed to load."), ("boot", 3, "Worker failed to boot.")] {
        let mut server = Server::spawn(&format!("workers=3 boot={boot}"));
        assert_eq!(server.wait(), Some(code));
        assert!(server.log().contains(text));
        assert!(!server.path("pid").exists() && !server.socket().exists());
    }
    let mut server = Server::spawn("boot=hang boot_timeout=300");
    assert_eq!(server.wait(), Some(3));
    assert!(server.log().contains("WORKER BOOT TIMEOUT"));
}

#[test]
fn dead_workers_are_named_and_replaced() {
    let mut server = Server::start("workers=2");
    let first = server.until_workers(2);
    kill(Pid::from_raw(first[0]), Signal::SIGKILL).unwrap();
    server.until_logged(&format!("Worker (pid:{}) was sent SIGKILL! Perhaps out of memory?", first[0]));
    server.until("a replacement", || server.workers().len() == 2 && !server.workers().contains(&first[0]));
    server.ask("/abort");
    server.until_logged("was sent SIGABRT!");
    server.until_workers(2);
    assert!(server.ask("/").is_some());
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_crash_loop_backs_off_and_recovers() {
    let mut server = Server::start("workers=1");
    for _ in 0..2 {
        server.ask("/exit");
        server.until("it answers again", || server.ask("/").is_some());
    }
    assert!(
        server.log().contains("2 workers in a row died young: the next one starts in 0.5 s"),
        "{}",
        server.log()
    );
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn no_worker_outlives_a_killed_master() {
    let mut server = Server::start("workers=3");
    let workers = server.until_workers(3);
    server.signal(Signal::SIGKILL);
    server.wait();
    server.until("all gone", || workers.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn workers_are_added_and_taken_away() {
    let mut server = Server::start("workers=1");
    for _ in 0..3 {
        server.signal(Signal::SIGTTIN);
        std::thread::sleep(Duration::from_millis(20));
    }
    server.until_workers(4);
    server.signal(Signal::SIGTTOU);
    server.until_workers(3);
    server.signal(Signal::SIGWINCH);
    server.until_workers(0);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_reload_brings_the_new_generation_without_losing_a_request() {
    let mut server = Server::start("workers=3 mark=a boot=slow");
    let old = server.until_workers(3);
    let load = Load::on(&server.socket(), 4);
    server.configure("workers=2 mark=b boot=slow");
    server.signal(Signal::SIGHUP);
    server.until_logged("Reload complete");
    server.until("two new workers", || {
        let now = server.workers();
        now.len() == 2 && now.iter().all(|pid| !old.contains(pid))
    });
    assert_eq!(server.ask("/").unwrap().2, "b");
    let (answered, failed) = load.end();
    assert!(answered > 50 && failed == 0, "{answered} answered, {failed} failed");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_broken_deploy_never_takes_the_service_down() {
    let mut server = Server::start("workers=2 mark=good");
    let old = server.until_workers(2);
    let load = Load::on(&server.socket(), 2);
    server.misconfigure();
    server.signal(Signal::SIGHUP);
    server.until_logged("Reload refused");
    assert!(server.log().contains("config line 1: no '='"));
    for (boot, failures) in [("app", 1), ("hang", 2)] {
        server.configure(&format!("workers=2 mark=bad boot={boot} boot_timeout=300"));
        server.signal(Signal::SIGHUP);
        server.until("it fails", || server.log().matches("Reload failed").count() == failures);
        assert_eq!(server.ask("/").unwrap().2, "good");
    }
    assert_eq!(server.until_workers(2), old);
    server.configure("workers=2 mark=repaired");
    server.signal(Signal::SIGHUP);
    server.until_logged("Reload complete");
    assert_eq!(server.ask("/").unwrap().2, "repaired");
    assert_eq!(load.end().1, 0);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn new_addresses_are_opened_and_old_ones_closed() {
    let mut server = Server::start("workers=1");
    let (socket, second) = (server.socket(), server.path("second"));
    server.configure(&format!("workers=1 bind={},{}", socket.display(), second.display()));
    server.signal(Signal::SIGHUP);
    server.until("the second answers", || master_support::ask(&second, "/").is_some());
    assert!(server.ask("/").is_some());
    server.configure(&format!("workers=1 bind={}", second.display()));
    server.signal(Signal::SIGHUP);
    server.until("the first is gone", || !socket.exists());
    assert!(master_support::ask(&second, "/").is_some());
    assert_eq!(server.stop(), Some(0));
    assert!(!second.exists());
}

#[test]
fn a_worker_that_asks_is_replaced_first() {
    let mut server = Server::start("workers=1 boot=slow");
    let old = server.until_workers(1)[0];
    let load = Load::on(&server.socket(), 2);
    server.ask("/retire");
    server.until_logged(&format!("Replacing worker (pid:{old}): it asked for a successor"));
    server.until("the old one is gone", || !is_alive(old));
    assert_ne!(server.ask("/").unwrap().0, old);
    assert_eq!(load.end().1, 0);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn memory_and_age_are_limits_too() {
    let mut server = Server::start("workers=1 max_worker_age=300");
    server.until_logged("max_worker_age is reached");
    assert_eq!(server.stop(), Some(0));
    let mut server = Server::start("workers=1 max_worker_memory=1000");
    server.until_logged("max_worker_memory is exceeded");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_stuck_request_is_reported_poked_and_ended() {
    let mut server = Server::start("workers=2 timeout=500 timeout_grace=300");
    let workers = server.until_workers(2);
    let socket = server.socket();
    let stuck = std::thread::spawn(move || master_support::ask(&socket, "/stuck"));
    server.until_logged("worker was told to end GET /stuck HTTP/1.1");
    assert!(server.ask("/").is_some());
    server.until_logged("is given up: the request in thread 0 did not end");
    assert_eq!(stuck.join().unwrap(), None);
    server.until("a new one", || server.workers().len() == 2 && server.workers() != workers);
    assert!(!server.log().contains("out of memory"), "{}", server.log());
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn requests_in_flight_and_in_the_queue_survive_a_graceful_stop() {
    let mut server = Server::start("workers=1");
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let socket = server.socket();
            std::thread::spawn(move || master_support::ask(&socket, "/slow"))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    server.signal(Signal::SIGTERM);
    server.signal(Signal::SIGTERM);
    assert!(clients.into_iter().all(|client| client.join().unwrap().is_some()));
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_second_signal_shortens_the_wait() {
    let mut server = Server::start("workers=1 graceful_timeout=20000");
    let socket = server.socket();
    let client = std::thread::spawn(move || master_support::ask(&socket, "/stuck"));
    std::thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    server.until_logged("Handling signal: term");
    server.signal(Signal::SIGINT);
    server.until_logged("Quick shutdown requested");
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait(), Some(0));
    assert!(start.elapsed() < Duration::from_millis(1_900), "{:?}", start.elapsed());
    assert_eq!(client.join().unwrap(), None);
}

#[test]
fn logs_are_reopened_everywhere() {
    let mut server = Server::start("workers=2");
    server.until_workers(2);
    server.until("both boot", || server.log().matches("Booting worker").count() == 2);
    std::thread::sleep(Duration::from_millis(100));
    server.signal(Signal::SIGUSR1);
    server.until_logged("logs reopened");
    server.until("workers too", || server.log().matches("worker got usr1").count() == 2);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn an_upgrade_hands_over_without_losing_a_request() {
    let mut server = Server::start("workers=2");
    server.until_workers(2);
    let load = Load::on(&server.socket(), 3);
    server.signal(Signal::SIGUSR2);
    server.until("a second pidfile", || server.path("pid.2").exists());
    let new: i32 = fs::read_to_string(server.path("pid.2")).unwrap().trim().parse().unwrap();
    server.until("its workers", || children(new).len() == 2);
    kill(Pid::from_raw(new), Signal::SIGUSR2).unwrap();
    server.until_logged("USR2 signal ignored. Parent exists.");
    server.signal(Signal::SIGUSR2);
    server.until_logged("USR2 signal ignored. Child exists.");
    assert_eq!(server.stop(), Some(0));
    server.until_logged("Master has been promoted.");
    server.until("the first pidfile again", || {
        fs::read_to_string(server.path("pid")).is_ok_and(|text| text.trim() == new.to_string())
    });
    assert!(!server.path("pid.2").exists() && server.socket().exists());
    assert_eq!(load.end().1, 0);
    kill(Pid::from_raw(new), Signal::SIGTERM).unwrap();
    server.until("the new one gone", || !is_alive(new));
    assert!(!server.path("pid").exists() && !server.socket().exists());
}

#[test]
fn an_upgrade_can_be_rolled_back() {
    let mut server = Server::start("workers=1");
    server.signal(Signal::SIGUSR2);
    server.until("a second pidfile", || server.path("pid.2").exists());
    let new: i32 = fs::read_to_string(server.path("pid.2")).unwrap().trim().parse().unwrap();
    server.until("its worker", || children(new).len() == 1);
    kill(Pid::from_raw(new), Signal::SIGTERM).unwrap();
    server.until_logged(&format!("New master (pid:{new}) exited with code 0."));
    assert!(!server.path("pid.2").exists() && server.path("pid").exists());
    assert!(server.ask("/").is_some());
    assert_eq!(server.stop(), Some(0));
    assert!(!server.socket().exists());
}
