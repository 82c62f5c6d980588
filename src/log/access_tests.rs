//! The buffer, and targets that stop taking lines.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::thread;

use nix::unistd::pipe;

use super::*;
use crate::log::Phases;
use crate::log::output::Output;
use crate::log::{NoFields, Target};

fn record(target: &str) -> AccessRecord<'_> {
    AccessRecord {
        remote_addr: "127.0.0.1",
        method: b"GET",
        target: target.as_bytes(),
        path: b"/",
        query: b"",
        version: "HTTP/1.1",
        status: 200,
        response_length: 5,
        duration: Duration::from_micros(1500),
        request_length: 0,
        phases: Phases::default(),
        request_id: "",
        now_ms: 0,
        pid: 7,
        request: &NoFields,
        response: &NoFields,
        environ: &[],
    }
}

fn log(sink: Sink) -> AccessLog {
    AccessLog::new(AccessFormat::compile("%(r)s %(s)s").unwrap(), Some(sink))
}

fn to_file(path: &Path) -> AccessLog {
    log(Sink::open(Target::File(path.into())).unwrap())
}

#[test]
fn lines_wait_for_an_idle_moment_or_a_full_buffer() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("access");
    let log = to_file(&path);
    assert!(!log.pending());
    log.record(&record("/a"));
    assert!(log.pending());
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    log.flush();
    assert!(!log.pending());
    assert_eq!(fs::read_to_string(&path).unwrap(), "GET /a HTTP/1.1 200\n");
    let long = "/".repeat(1000);
    for _ in 0..40 {
        log.record(&record(&long));
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.len() > FLUSH_AT, "written without being asked");
    assert!(written.ends_with('\n'), "whole lines only");
    assert!(log.pending());
    log.finish();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 41);
    assert_eq!(log.dropped(), 0);
}

#[test]
fn reopening_leaves_the_buffered_lines_in_the_old_file() {
    let root = tempfile::tempdir().unwrap();
    let (path, rotated) = (root.path().join("access"), root.path().join("access.1"));
    let log = to_file(&path);
    log.record(&record("/old"));
    fs::rename(&path, &rotated).unwrap();
    log.reopen().unwrap();
    log.record(&record("/new"));
    log.flush();
    assert_eq!(fs::read_to_string(&rotated).unwrap(), "GET /old HTTP/1.1 200\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "GET /new HTTP/1.1 200\n");
    // It cannot be opened: the old file stays in use.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    log.reopen().unwrap_err();
    log.record(&record("/kept"));
    log.flush();
    assert_eq!(log.dropped(), 0);
}

#[test]
fn threads_share_it_without_mixing_lines() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("access");
    // Two workers append to one file, each with threads.
    let workers = [to_file(&path), to_file(&path)];
    thread::scope(|scope| {
        for log in &workers {
            for thread in ["/one", "/two", "/three"] {
                scope.spawn(move || (0..2000).for_each(|_| log.record(&record(thread))));
            }
        }
    });
    workers.iter().for_each(AccessLog::finish);
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(written.lines().count(), 12_000);
    for line in written.lines() {
        assert!(
            ["GET /one HTTP/1.1 200", "GET /two HTTP/1.1 200", "GET /three HTTP/1.1 200"].contains(&line),
            "{line}"
        );
    }
}

#[test]
fn a_reader_that_sleeps_costs_lines_but_never_time_or_memory() {
    let (reader, writer) = pipe().unwrap();
    let log = log(Sink::on(Output::inherited(writer).unwrap()));
    let target = "/".repeat(500);
    for _ in 0..5000 {
        log.record(&record(&target));
    }
    assert!(log.pending());
    let lost = log.dropped();
    assert!(lost > 1000, "{lost}");
    assert!(log.lock().buffer.len() < HELD + 1000);
    // It wakes up: everything that was held arrives, in whole lines.
    let reading = thread::spawn(move || {
        let mut read = String::new();
        File::from(reader).read_to_string(&mut read).map(|_| read).unwrap()
    });
    while log.pending() {
        log.flush();
        thread::yield_now();
    }
    drop(log);
    let read = reading.join().unwrap();
    assert_eq!(read.lines().count() as u64, 5000 - lost);
    assert!(read.lines().all(|line| line.len() == "GET  HTTP/1.1 200".len() + 500));
}

#[test]
fn a_reader_that_never_wakes_does_not_hold_up_the_end() {
    let (_reader, writer) = pipe().unwrap();
    let log = log(Sink::on(Output::inherited(writer).unwrap()));
    for _ in 0..5000 {
        log.record(&record("/some/longer/path/to/fill/the/pipe/with"));
    }
    let before = log.dropped();
    log.finish();
    assert!(!log.pending());
    assert!(log.dropped() > before);
}

#[test]
fn a_reader_that_is_gone_and_a_full_disk_are_counted() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let gone = log(Sink::on(Output::inherited(writer).unwrap()));
    for log in [gone, to_file(Path::new("/dev/full"))] {
        log.record(&record("/"));
        log.record(&record("/"));
        log.flush();
        assert!(!log.pending());
        assert_eq!(log.dropped(), 2);
    }
}

#[test]
fn a_log_for_syslog_alone_keeps_nothing() {
    let collector = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let destination = crate::system::messenger::Destination::Udp(
        "127.0.0.1".into(),
        collector.local_addr().unwrap().port(),
    );
    let syslog = SyslogSettings { destination, facility: 16, tag: "gunicorn.shop.access".into() };
    let settings = AccessSettings {
        layout: Layout::Text("%(r)s".into()),
        target: None,
        syslog: Some(syslog),
        skip: Vec::new(),
        sample: 1,
    };
    let log = AccessLog::open(&settings).unwrap();
    log.record(&record("/a"));
    assert!(!log.pending());
    let mut buffer = [0; 100];
    let count = collector.recv(&mut buffer).unwrap();
    let expected = format!("<134>gunicorn.shop.access: [{}] GET /a HTTP/1.1\0", std::process::id());
    assert_eq!(String::from_utf8_lossy(&buffer[..count]), expected);
}
