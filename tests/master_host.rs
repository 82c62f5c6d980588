//! The master in its surroundings: service manager, daemon mode, process 1, a shared address.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them, its helpers included")]

mod master_support;

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::Duration;

use master_support::{Server, children, is_alive};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Not a test by itself: the master that the others start.
#[test]
fn be_master() {
    master_support::be_master();
}

/// A service manager's ear.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn new(name: &str) -> Manager {
        let name = format!("rwsgi-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Manager { socket, name: format!("@{name}") }
    }

    /// Everything heard up to the first report that begins so.
    fn hear_until(&self, text: &str) -> Vec<String> {
        let mut heard: Vec<String> = Vec::new();
        while !heard.last().is_some_and(|last| last.starts_with(text)) {
            let mut buffer = [0; 300];
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}: {heard:?}"));
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        heard
    }
}

#[test]
fn the_service_manager_is_told_what_happens() {
    let manager = Manager::new("notify");
    let environment = [("NOTIFY_SOCKET", manager.name.as_str()), ("WATCHDOG_USEC", "400000")];
    let mut server = Server::spawn_with("workers=2 boot=slow", &environment, &[]);
    let heard = manager.hear_until("READY=1");
    assert!(heard.iter().any(|report| report.starts_with("STATUS=0 of 2 workers serving, 2 booting")));
    manager.hear_until("STATUS=2 of 2 workers serving");
    manager.hear_until("WATCHDOG=1");
    manager.hear_until("WATCHDOG=1");
    server.signal(Signal::SIGHUP);
    let reloading = manager.hear_until("RELOADING=1").pop().unwrap();
    assert!(reloading.contains("\nMONOTONIC_USEC="));
    manager.hear_until("READY=1");
    assert_eq!(server.stop(), Some(0));
    manager.hear_until("STOPPING=1");
}

#[test]
fn the_service_manager_follows_an_upgrade() {
    let manager = Manager::new("mainpid");
    let mut server = Server::spawn_with("workers=1", &[("NOTIFY_SOCKET", manager.name.as_str())], &[]);
    manager.hear_until("READY=1");
    server.signal(Signal::SIGUSR2);
    manager.hear_until("READY=1");
    let new: i32 = fs::read_to_string(server.path("pid.2")).unwrap().trim().parse().unwrap();
    assert_eq!(server.stop(), Some(0));
    manager.hear_until(&format!("MAINPID={new}"));
    kill(Pid::from_raw(new), Signal::SIGTERM).unwrap();
    manager.hear_until("STOPPING=1");
    server.until("the end", || !is_alive(new));
}

#[test]
fn passed_sockets_are_served_and_left_alone() {
    let activate =
        ["systemd-socket-activate", "-E", "RWSGI_TEST_MASTER", "--listen={}/passed", "--listen={}/second"];
    if Command::new(activate[0]).arg("--version").output().is_err() {
        return;
    }
    let mut server = Server::spawn_with("workers=1", &[], &activate);
    let (passed, second) = (server.path("passed"), server.path("second"));
    server.until("it answers", || master_support::ask(&passed, "/").is_some());
    assert!(master_support::ask(&second, "/").is_some());
    assert!(!server.socket().exists(), "bind is replaced by what was passed in");
    server.signal(Signal::SIGHUP);
    server.until_logged("Reload complete");
    assert_eq!(master_support::ask(&second, "/").unwrap().1, 2);
    assert_eq!(server.stop(), Some(0));
    assert!(passed.exists() && second.exists(), "socket files belong to who bound them");
}

#[test]
fn a_daemon_leaves_its_parent() {
    let mut server = Server::spawn("workers=1 daemon=1");
    assert_eq!(server.wait(), Some(0));
    server.until("it answers", || server.ask("/").is_some());
    let pid: i32 = fs::read_to_string(server.path("pid")).unwrap().trim().parse().unwrap();
    assert_ne!(pid, server.pid());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_ne!(fields[3], pid.to_string(), "a daemon leads no session");
    assert_eq!(fields[4], "0", "a daemon has no terminal");
    assert_eq!(fs::read_link(format!("/proc/{pid}/fd/2")).unwrap().to_str(), Some("/dev/null"));
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    server.until("the end", || !is_alive(pid) && !server.path("pid").exists());
}

#[test]
fn as_process_one_it_reaps_strangers_and_hears_signals() {
    let unshare = ["unshare", "--pid", "--fork", "--kill-child"];
    if !Command::new(unshare[0])
        .args(["--pid", "--fork", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        return;
    }
    let mut server = Server::spawn_with("workers=2", &[], &unshare);
    server.until("it answers", || server.ask("/").is_some());
    let master = children(server.pid())[0];
    server.ask("/orphan");
    server.until_logged("Reaped foreign process");
    kill(Pid::from_raw(master), Signal::SIGHUP).unwrap();
    server.until_logged("Reload complete");
    kill(Pid::from_raw(master), Signal::SIGTERM).unwrap();
    assert_eq!(server.wait(), Some(0));
    assert!(!server.socket().exists());
}

#[test]
fn a_second_server_respects_the_first() {
    let mut first = Server::start("workers=1");
    let taken = format!("workers=1 bind={}", first.socket().display());
    let mut second = Server::spawn(&taken);
    assert_eq!(second.wait(), Some(1));
    assert_eq!(second.log().matches("Connection in use: unix:").count(), 5);
    assert!(second.log().contains("Can't connect to unix:"));
    assert!(!second.path("pid").exists());
    let mut third = Server::spawn(&format!("workers=1 pidfile={}", first.path("pid").display()));
    assert_eq!(third.wait(), Some(1));
    assert!(third.log().contains(&format!("Already running on PID {}", first.pid())));
    assert!(first.ask("/").is_some());
    first.signal(Signal::SIGKILL);
    first.wait();
    assert!(first.socket().exists(), "nobody was left to remove it");
    let mut heir = Server::spawn(&taken);
    heir.until("it answers at the abandoned address", || first.ask("/").is_some());
    assert_eq!(heir.stop(), Some(0));
}

#[test]
fn an_idle_master_does_not_wake_up() {
    let mut server = Server::start("workers=2");
    server.until_workers(2);
    std::thread::sleep(Duration::from_millis(100));
    let switches = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line =
            status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap().to_owned();
        line.rsplit('\t').next().unwrap().parse::<u64>().unwrap()
    };
    let before = switches(server.pid());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(switches(server.pid()), before);
    assert_eq!(server.stop(), Some(0));
}
