//! What does the configuration say about syslog and statsd?
//!
//! Translations, as its parent's. Must not know: what is sent there.

use std::rc::Rc;
use std::sync::Arc;

use super::{has_default_logger, name};
use crate::config::Config;
use crate::config::log_address::SocketAddress;
use crate::log;
use crate::master::settings::Count;
use crate::metrics::statsd::{LogLine, Statsd, StatsdSettings};
use crate::system::messenger::Destination;

/// What a log needs to go to syslog, if it does.
pub(super) fn syslog(config: &Config, log: &str) -> Option<log::SyslogSettings> {
    let name = || name(config).replace(':', ".");
    let prefix = config.syslog_prefix.clone().unwrap_or_else(name);
    config.syslog.then(|| log::SyslogSettings {
        destination: destination(&config.syslog_addr),
        facility: config.syslog_facility.0,
        tag: format!("gunicorn.{prefix}.{log}"),
    })
}

/// What somebody needs to tell statsd, if anybody listens.
pub(super) fn statsd(config: &Config) -> Option<StatsdSettings> {
    // As with Gunicorn, a logger class of the operator's counts itself, or nobody does.
    let host = config.statsd_host.as_ref().filter(|_| has_default_logger(config));
    host.map(|address| StatsdSettings {
        destination: destination(address),
        prefix: config.statsd_prefix.clone(),
        tags: config.dogstatsd_tags.clone(),
    })
}

/// How lines of the error log are counted.
pub(super) fn tally(config: &Config) -> Option<log::Tally> {
    let statsd = Statsd::open(&statsd(config)?);
    Some(log::Tally(Arc::new(move |level, exception| match level {
        log::Level::Critical => statsd.log_line(LogLine::Critical),
        log::Level::Error if exception => statsd.log_line(LogLine::Exception),
        log::Level::Error => statsd.log_line(LogLine::Error),
        log::Level::Warning => statsd.log_line(LogLine::Warning),
        log::Level::Info | log::Level::Debug => {}
    })))
}

fn destination(address: &SocketAddress) -> Destination {
    match address {
        SocketAddress::Udp(host, port) => Destination::Udp(host.clone(), *port),
        SocketAddress::Tcp(host, port) => Destination::Tcp(host.clone(), *port),
        SocketAddress::UnixDatagram(path) => Destination::UnixDatagram(path.clone()),
        SocketAddress::UnixStream(path) => Destination::UnixStream(path.clone()),
        SocketAddress::Unix(path) => Destination::Unix(path.clone()),
    }
}

/// How the master counts workers, and the connections that wait.
pub(super) fn counts(config: &Config) -> (Option<Count>, Option<Count>) {
    let Some(settings) = statsd(config) else { return (None, None) };
    let statsd = Rc::new(Statsd::open(&settings));
    let workers = Rc::clone(&statsd);
    let workers = Count(Rc::new(move |count| workers.workers(count as usize)));
    let backlog = Count(Rc::new(move |waiting| statsd.backlog(waiting)));
    (Some(workers), config.enable_backlog_metric.then_some(backlog))
}
