//! What does the configuration say about logs, and those who collect them: syslog and statsd?
//!
//! Translations, as its parent's. Must not know: what is written or sent there.

use std::rc::Rc;
use std::sync::Arc;

use super::{has_default_logger, name};
use crate::config::Config;
use crate::config::log_address::SocketAddress;
use crate::config::types::{LogLevel, LogTarget};
use crate::log::{self, Figure, Owner};
use crate::master::settings::Count;
use crate::metrics::statsd::{LogLine, Statsd, StatsdSettings};
use crate::system::messenger::Destination;

/// What the error log needs.
pub(super) fn error_log(config: &Config, owner: Owner) -> log::ErrorLog {
    let level = match config.loglevel {
        LogLevel::Debug => log::Level::Debug,
        LogLevel::Info => log::Level::Info,
        LogLevel::Warning => log::Level::Warning,
        LogLevel::Error => log::Level::Error,
        LogLevel::Critical => log::Level::Critical,
    };
    log::ErrorLog {
        owner,
        capture: config.capture_output,
        syslog: syslog(config, "error"),
        tally: tally(config),
        ..log::ErrorLog::new(target(&config.errorlog).unwrap_or(log::Target::Stderr), level)
    }
}

/// What the access log needs; `None`: there is none.
pub(super) fn access_log(config: &Config) -> Option<log::AccessSettings> {
    let syslog = (!config.disable_redirect_access_to_syslog).then(|| syslog(config, "access")).flatten();
    let target = target(&config.accesslog);
    if target.is_none() && syslog.is_none() {
        return None;
    }
    let json = |names| log::Layout::Json {
        names,
        request: config.access_log_request_headers.clone(),
        response: config.access_log_response_headers.clone(),
    };
    let layout = match config.access_log_format.as_str() {
        _ if config.access_log_json_ecs => json(log::Names::Ecs),
        _ if config.access_log_json => json(log::Names::Own),
        "ecs" => json(log::Names::Ecs),
        "json" => json(log::Names::Own),
        format => log::Layout::Text(format.to_owned()),
    };
    let (skip, sample) = (config.access_log_skip.clone(), config.access_log_sample);
    Some(log::AccessSettings { layout, target, syslog, skip, sample })
}

/// Workers open the access log with the rights they have left: it has to be there for them.
pub(super) fn prepare_access_log(config: &Config, owner: Owner) -> impl Fn() -> Result<(), String> + use<> {
    let target = target(&config.accesslog);
    let origin = config.origin("accesslog").to_string();
    move || match &target {
        Some(target) => log::prepare(target, owner).map_err(|error| format!("{error} ({origin})")),
        None => Ok(()),
    }
}

fn target(target: &LogTarget) -> Option<log::Target> {
    match target {
        LogTarget::Off => None,
        LogTarget::Stdout => Some(log::Target::Stdout),
        LogTarget::Stderr => Some(log::Target::Stderr),
        LogTarget::File(path) => Some(log::Target::File(path.clone())),
    }
}

/// What a log needs to go to syslog, if it does.
fn syslog(config: &Config, log: &str) -> Option<log::SyslogSettings> {
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
fn tally(config: &Config) -> Option<log::Tally> {
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
    let backlog = |count| config.enable_backlog_metric.then_some(Count(count));
    if !has_default_logger(config) {
        let workers: Rc<dyn Fn(u64)> = Rc::new(|count| log::tell(Figure::Workers, count));
        return (Some(Count(workers)), backlog(Rc::new(|waiting| log::tell(Figure::Backlog, waiting))));
    }
    let Some(settings) = statsd(config) else { return (None, None) };
    let statsd = Rc::new(Statsd::open(&settings));
    let workers = Rc::clone(&statsd);
    let workers = Count(Rc::new(move |count| workers.workers(count as usize)));
    (Some(workers), backlog(Rc::new(move |waiting| statsd.backlog(waiting))))
}
