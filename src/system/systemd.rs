//! What does systemd pass in, and what does it want to hear? (sd_notify(3), sd_listen_fds(3))
//!
//! Must not know when anything is said. A missing or deaf systemd is never an error.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::{clock, raw};

/// Descriptors passed by socket activation start here.
const FIRST_PASSED: i32 = 3;

/// One state report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Start-up, or a reload, is complete.
    Ready,
    /// A reload begins.
    Reloading,
    /// Shutdown begins.
    Stopping,
    /// Free text for `systemctl status`.
    Status(String),
    /// Still alive.
    Watchdog,
    /// The service's main process is another one now.
    MainPid(i32),
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Ready => out.write_str("READY=1"),
            // Type=notify-reload tells a late report of an earlier reload by this time stamp.
            Report::Reloading => write!(out, "RELOADING=1\nMONOTONIC_USEC={}", clock::now_ns() / 1_000),
            Report::Stopping => out.write_str("STOPPING=1"),
            Report::Status(text) => write!(out, "STATUS={}", text.replace('\n', " ")),
            Report::Watchdog => out.write_str("WATCHDOG=1"),
            Report::MainPid(pid) => write!(out, "MAINPID={pid}"),
        }
    }
}

/// The way to systemd, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    channel: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads NOTIFY_SOCKET, and WATCHDOG_USEC if it is meant for this process.
    pub fn from_env() -> Notifier {
        let ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let watchdog = env::var("WATCHDOG_USEC")
            .ok()
            .filter(|_| ours)
            .and_then(|text| text.parse().ok())
            .filter(|usec| *usec > 0)
            .map(Duration::from_micros);
        match env::var_os("NOTIFY_SOCKET") {
            Some(name) => Notifier { watchdog, ..Notifier::to(&name) },
            None => Notifier::default(),
        }
    }

    /// A notifier for the socket of that name; `@` begins an abstract one.
    pub fn to(name: &OsString) -> Notifier {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
            path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
        };
        let channel = UnixDatagram::unbound().and_then(|socket| {
            // A full queue must not stop the loop that feeds the watchdog.
            socket.set_nonblocking(true)?;
            Ok((socket, address?))
        });
        Notifier { channel: channel.ok(), watchdog: None }
    }

    /// Whether anybody listens.
    pub fn is_active(&self) -> bool {
        self.channel.is_some()
    }

    /// How often systemd wants to hear [`Report::Watchdog`] at the latest.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.is_active())
    }

    /// Sends a report.
    pub fn send(&self, report: &Report) -> io::Result<()> {
        if let Some((socket, address)) = &self.channel {
            socket.send_to_addr(report.to_string().as_bytes(), address)?;
        }
        Ok(())
    }
}

/// Takes the descriptors passed by socket activation, if they are meant for this process.
pub fn take_listen_fds() -> io::Result<Vec<OwnedFd>> {
    let pid = env::var("LISTEN_PID").unwrap_or_default();
    let count = env::var("LISTEN_FDS").unwrap_or_default();
    match passed(&pid, &count, std::process::id()) {
        Some(count) => (FIRST_PASSED..FIRST_PASSED + count).map(raw::adopt_fd).collect(),
        None => Ok(Vec::new()),
    }
}

/// How many descriptors LISTEN_PID and LISTEN_FDS promise to process `own`.
fn passed(pid: &str, count: &str, own: u32) -> Option<i32> {
    let meant = pid.parse() == Ok(own);
    count.parse().ok().filter(|count| meant && (1..1024).contains(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_reach_an_abstract_socket() {
        let name = format!("rwsgi-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let server = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::to(&OsString::from(format!("@{name}")));
        notifier.send(&Report::Ready).unwrap();
        notifier.send(&Report::Status("2\nworkers".into())).unwrap();
        notifier.send(&Report::Reloading).unwrap();
        let mut heard = Vec::new();
        for _ in 0..3 {
            let mut buffer = [0; 200];
            let length = server.recv(&mut buffer).unwrap();
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        assert_eq!(heard[..2], ["READY=1", "STATUS=2 workers"]);
        assert!(heard[2].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{heard:?}");
    }

    #[test]
    fn silence_without_systemd() {
        let notifier = Notifier::default();
        assert!(!notifier.is_active());
        notifier.send(&Report::Ready).unwrap();
    }

    #[test]
    fn passed_descriptors_must_be_meant_for_us() {
        let cases = [
            ("7", "2", Some(2)),
            ("8", "2", None),
            ("", "2", None),
            ("7", "", None),
            ("7", "0", None),
            ("7", "-1", None),
            ("7", "99999", None),
        ];
        for (pid, count, expected) in cases {
            assert_eq!(passed(pid, count, 7), expected, "{pid} {count}");
        }
    }
}
