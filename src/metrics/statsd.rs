//! Which metrics does statsd get? Gunicorn's, by the same names and in the same form: one datagram
//! for each.
//!
//! Must not know: who counts, and what is done with the figures.
//!
//! Invariant: a metric that does not leave at once is lost; nobody waits for statsd.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::system::messenger::{Destination, Messenger};

/// Which statsd, and how metrics are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsdSettings {
    /// Where it listens.
    pub destination: Destination,
    /// What names begin with; a dot is put behind it if there is none.
    pub prefix: String,
    /// DogStatsD's tags, as they are sent; empty: none.
    pub tags: String,
}

/// Which line of the error log is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLine {
    /// A warning.
    Warning,
    /// An error.
    Error,
    /// An error with a traceback.
    Exception,
    /// A critical one.
    Critical,
}

/// A way to statsd.
#[derive(Debug)]
pub struct Statsd {
    messenger: Messenger,
    prefix: String,
    suffix: String,
}

impl Statsd {
    /// Connects to it.
    pub fn open(settings: &StatsdSettings) -> Statsd {
        let suffix = if settings.tags.is_empty() { String::new() } else { format!("|#{}", settings.tags) };
        let messenger = Messenger::new(settings.destination.clone());
        Statsd { messenger, prefix: dotted(&settings.prefix), suffix }
    }

    /// A finished request.
    pub fn request(&self, status: u16, took: Duration) {
        let millis = took.as_micros() as f64 / 1000.0;
        self.send(format_args!("gunicorn.request.duration:{millis:?}|ms"));
        self.send(format_args!("gunicorn.requests:1|c|@1.0"));
        self.send(format_args!("gunicorn.request.status.{status}:1|c|@1.0"));
    }

    /// So many workers are alive.
    pub fn workers(&self, count: usize) {
        self.send(format_args!("gunicorn.workers:{count}|g"));
    }

    /// So many connections wait to be accepted.
    pub fn backlog(&self, waiting: u64) {
        self.send(format_args!("gunicorn.backlog:{waiting}|h"));
    }

    /// A line was written to the error log.
    pub fn log_line(&self, line: LogLine) {
        let name = match line {
            LogLine::Warning => "warning",
            LogLine::Error => "error",
            LogLine::Exception => "exception",
            LogLine::Critical => "critical",
        };
        self.send(format_args!("gunicorn.log.{name}:1|c|@1.0"));
    }

    fn send(&self, metric: fmt::Arguments<'_>) {
        let mut text = String::with_capacity(64 + self.prefix.len() + self.suffix.len());
        text.push_str(&self.prefix);
        // Writing to memory has no error.
        let _ = text.write_fmt(metric);
        text.push_str(&self.suffix);
        // Lost metrics are the price of never waiting.
        let _ = self.messenger.send(text.as_bytes());
    }
}

/// Gunicorn's rule: a prefix of two or more characters ends with exactly one dot.
fn dotted(prefix: &str) -> String {
    let bare = prefix.trim_end_matches('.');
    match bare.chars().count() {
        0 | 1 => prefix.to_owned(),
        _ => format!("{bare}."),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn received(collector: &UdpSocket) -> String {
        let mut buffer = [0; 200];
        let count = collector.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn metrics_look_as_gunicorn_sends_them() {
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        let destination = Destination::Udp("127.0.0.1".into(), collector.local_addr().unwrap().port());
        let statsd = Statsd::open(&StatsdSettings {
            destination: destination.clone(),
            prefix: "shop".into(),
            tags: "a:b".into(),
        });
        statsd.request(404, Duration::from_micros(12_345));
        statsd.workers(3);
        let sent: Vec<String> = (0..4).map(|_| received(&collector)).collect();
        assert_eq!(
            sent,
            [
                "shop.gunicorn.request.duration:12.345|ms|#a:b",
                "shop.gunicorn.requests:1|c|@1.0|#a:b",
                "shop.gunicorn.request.status.404:1|c|@1.0|#a:b",
                "shop.gunicorn.workers:3|g|#a:b"
            ]
        );
        let plain = Statsd::open(&StatsdSettings { destination, prefix: String::new(), tags: String::new() });
        plain.backlog(7);
        plain.request(200, Duration::from_millis(2));
        plain.log_line(LogLine::Exception);
        assert_eq!(received(&collector), "gunicorn.backlog:7|h");
        assert_eq!(received(&collector), "gunicorn.request.duration:2.0|ms");
        (0..2).for_each(|_| drop(received(&collector)));
        assert_eq!(received(&collector), "gunicorn.log.exception:1|c|@1.0");
    }

    #[test]
    fn prefixes_end_with_one_dot() {
        for (prefix, expected) in [("", ""), ("shop", "shop."), ("shop.", "shop."), ("a.b...", "a.b.")] {
            assert_eq!(dotted(prefix), expected);
        }
    }
}
