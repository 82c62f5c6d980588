//! How does a line become a message of syslog? `<PRIORITY>TAG: [PID] message` and a NUL, as
//! Python's SysLogHandler, and so Gunicorn, sends it.
//!
//! Must not know: where lines come from.
//!
//! Invariant: a message that syslog does not take at once is lost, and costs nobody time.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::clock::push_decimal;
use super::level::Level;
use crate::system::messenger::{Destination, Messenger};

/// Which syslog, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogSettings {
    /// Where it listens.
    pub destination: Destination,
    /// The facility's number (RFC 5424 section 6.2.1).
    pub facility: u8,
    /// What lines begin with.
    pub tag: String,
}

/// A way to syslog.
#[derive(Debug, Clone)]
pub struct Syslog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: SyslogSettings,
    messenger: Messenger,
    complained: AtomicBool,
}

impl Syslog {
    /// Connects to it.
    pub fn open(settings: SyslogSettings) -> Syslog {
        let messenger = Messenger::new(settings.destination.clone());
        Syslog(Arc::new(Inner { settings, messenger, complained: AtomicBool::new(false) }))
    }

    /// Sends one event. The first failure after a success is told, for the error log.
    pub fn send(&self, level: Level, message: &[u8]) -> Result<(), String> {
        match self.0.messenger.send(&self.message(level, message)) {
            Ok(()) => {
                self.0.complained.store(false, Relaxed);
                Ok(())
            }
            Err(error)
                if self.0.complained.swap(true, Relaxed) || error.kind() == io::ErrorKind::WouldBlock =>
            {
                Ok(())
            }
            Err(error) => Err(format!("Cannot send to syslog at {}: {error}", self.0.settings.destination)),
        }
    }

    fn message(&self, level: Level, message: &[u8]) -> Vec<u8> {
        let settings = &self.0.settings;
        let mut out = Vec::with_capacity(settings.tag.len() + message.len() + 24);
        out.push(b'<');
        push_decimal(&mut out, u64::from(settings.facility) * 8 + severity(level), 1);
        out.push(b'>');
        out.extend_from_slice(settings.tag.as_bytes());
        out.extend_from_slice(b": [");
        push_decimal(&mut out, process::id().into(), 1);
        out.extend_from_slice(b"] ");
        out.extend_from_slice(message.trim_ascii_end());
        out.push(0);
        out
    }
}

/// RFC 5424 section 6.2.1, as Python maps its levels.
fn severity(level: Level) -> u64 {
    match level {
        Level::Critical => 2,
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn messages_look_as_gunicorn_sends_them() {
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = collector.local_addr().unwrap().port();
        let syslog = Syslog::open(SyslogSettings {
            destination: Destination::Udp("127.0.0.1".into(), port),
            facility: 1,
            tag: "gunicorn.shop.error".into(),
        });
        let pid = process::id();
        for (level, priority) in [(Level::Info, 14), (Level::Critical, 10), (Level::Debug, 15)] {
            syslog.send(level, b"Listening at: x\n").unwrap();
            let mut buffer = [0; 200];
            let count = collector.recv(&mut buffer).unwrap();
            let expected = format!("<{priority}>gunicorn.shop.error: [{pid}] Listening at: x\0");
            assert_eq!(String::from_utf8_lossy(&buffer[..count]), expected);
        }
    }

    #[test]
    fn a_missing_syslog_is_told_once() {
        let syslog = Syslog::open(SyslogSettings {
            destination: Destination::UnixDatagram("/nowhere/log".into()),
            facility: 1,
            tag: "x".into(),
        });
        let told = syslog.send(Level::Info, b"a").unwrap_err();
        assert!(told.contains("syslog at unix:///nowhere/log"), "{told}");
        assert_eq!(syslog.send(Level::Info, b"b"), Ok(()));
    }
}
