//! Lines of the error log, and targets that stop taking them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use nix::unistd::pipe;
use tracing::{debug, error, info, trace, warn};

use super::*;

fn writer(level: Level, target: Target) -> Arc<Writer> {
    let writer = Writer { zone: Zone::named("Asia/Kathmandu"), ..Writer::closed(level) };
    writer.redirect(ErrorLog::new(target, Level::Info)).unwrap();
    Arc::new(writer)
}

fn on(output: Output) -> Arc<Writer> {
    let writer = Writer::closed(Level::Debug);
    *writer.place.write().unwrap() = Some(Place {
        output: Arc::new(output),
        syslog: None,
        settings: Arc::new(ErrorLog::new(Target::Stderr, Level::Info)),
    });
    Arc::new(writer)
}

fn with(writer: &Arc<Writer>, events: impl FnOnce()) {
    let subscriber = tracing_subscriber::registry().with(Lines(Arc::clone(writer)));
    tracing::subscriber::with_default(subscriber, events);
}

struct LogFile {
    _root: tempfile::TempDir,
    path: PathBuf,
}

fn file() -> LogFile {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("error.log");
    LogFile { _root: root, path }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Lines without `[time] [pid] `, which are checked.
fn messages(path: &Path) -> Vec<String> {
    let pid = format!("] [{}] ", process::id());
    let parts = |line: &str| {
        let (time, message) = line.split_once(&pid).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(time.len(), "[2026-11-20 08:33:11 +0545".len(), "{line}");
        assert!(time.starts_with("[20") && time.ends_with(" +0545"), "{line}");
        message.to_owned()
    };
    read(path).lines().map(parts).collect()
}

fn one_of_each() {
    trace!("t");
    debug!("d");
    info!("i");
    warn!("w");
    error!("e");
    error!(critical = true, "c");
}

#[test]
fn lines_look_like_gunicorns_at_every_level() {
    let all = ["[DEBUG] d", "[INFO] i", "[WARNING] w", "[ERROR] e", "[CRITICAL] c"];
    for (from, level) in Level::ALL.into_iter().enumerate() {
        let log = file();
        with(&writer(level, Target::File(log.path.clone())), one_of_each);
        assert_eq!(messages(&log.path), all[from..], "{level:?}");
    }
}

#[test]
fn fields_follow_the_message_and_peers_words_are_escaped() {
    let log = file();
    with(&writer(Level::Info, Target::File(log.path.clone())), || {
        let hostile = b"GET /\r\n[fake] \x1b[2J\"";
        warn!(ip = "1.2.3.4", age = 3, "Invalid request: {}", crate::log::escape(hostile));
        info!(line = "a\nb", gone = true);
        info!("bell \u{7} and return \r only");
        info!(critical = true, "not an error");
    });
    assert_eq!(
        messages(&log.path),
        [
            r#"[WARNING] Invalid request: GET /\x0d\x0a[fake] \x1b[2J\" ip=1.2.3.4 age=3"#,
            r"[INFO]  line=a\x0ab gone=true",
            r"[INFO] bell \x07 and return \x0d only",
            "[INFO] not an error",
        ]
    );
}

#[test]
fn a_traceback_stays_one_event() {
    let log = file();
    with(&writer(Level::Info, Target::File(log.path.clone())), || {
        error!("Error handling request\n{}\n", "Traceback:\n  File \"x\"\n\tboom");
        info!("next");
    });
    let text = read(&log.path);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with("[ERROR] Error handling request"));
    assert_eq!(lines[1..4], ["Traceback:", "  File \"x\"", "\tboom"]);
    assert!(lines[4].ends_with("[INFO] next"));
    assert_eq!(lines.len(), 5);
}

#[test]
fn reopening_follows_the_name_and_failing_keeps_the_file() {
    let log = file();
    let rotated = log.path.with_extension("1");
    let writer = writer(Level::Info, Target::File(log.path.clone()));
    with(&writer, || {
        info!("one");
        fs::rename(&log.path, &rotated).unwrap();
        info!("two");
        writer.reopen().unwrap();
        info!("three");
        fs::remove_file(&log.path).unwrap();
        fs::create_dir(&log.path).unwrap();
        let error = writer.reopen().expect_err("a directory");
        assert_eq!(error.target, Target::File(log.path.clone()));
        info!("nobody reads this");
    });
    assert_eq!(messages(&rotated), ["[INFO] one", "[INFO] two"]);
    assert_eq!(writer.dropped.load(Relaxed), 0);
}

#[test]
fn a_reader_that_sleeps_is_waited_for_once() {
    let (reader, end) = pipe().unwrap();
    let writer = on(Output::inherited(end).unwrap());
    let begun = Instant::now();
    with(&writer, || (0..5000).for_each(|number| info!("line {number} {}", "x".repeat(100))));
    assert!(begun.elapsed() < PATIENCE * 20, "{:?}", begun.elapsed());
    let lost = writer.dropped.load(Relaxed);
    assert!(lost > 3000, "{lost}");
    // It wakes up and is written to again, without half lines.
    let mut piece = vec![0; 60_000];
    let mut reader = File::from(reader);
    reader.read_exact(&mut piece).unwrap();
    with(&writer, || info!("awake"));
    drop(writer);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    let all = String::from_utf8(piece).unwrap() + &rest;
    assert!(all.ends_with("[INFO] awake\n"));
    assert_eq!(all.lines().count() as u64, 5000 - lost + 1);
    assert!(all.lines().all(|line| line.starts_with("[20")));
}

#[test]
fn a_reader_that_is_gone_and_a_full_disk_are_counted() {
    let (reader, end) = pipe().unwrap();
    drop(reader);
    for writer in [
        on(Output::inherited(end).unwrap()),
        writer(Level::Info, Target::File("/dev/full".into())),
        Arc::new(Writer::closed(Level::Info)),
    ] {
        with(&writer, || {
            info!("one");
            error!("two\nlines");
        });
        assert_eq!(writer.dropped.load(Relaxed), 2);
    }
}

#[test]
fn a_lock_that_was_forked_as_held_costs_lines_but_does_not_block() {
    let log = file();
    let writer = writer(Level::Info, Target::File(log.path.clone()));
    let held = writer.place.write().unwrap();
    with(&writer, || info!("lost"));
    assert!(writer.redirect(ErrorLog::new(Target::Stderr, Level::Info)).is_err());
    drop(held);
    with(&writer, || info!("back"));
    assert_eq!(messages(&log.path), ["[INFO] back"]);
    assert_eq!(writer.dropped.load(Relaxed), 1);
}

#[test]
fn a_torn_line_is_ended_before_the_next() {
    let log = file();
    let writer = writer(Level::Info, Target::File(log.path.clone()));
    writer.torn.store(true, Relaxed);
    with(&writer, || {
        info!("one");
        info!("two");
    });
    assert!(read(&log.path).starts_with("\n["));
    assert_eq!(read(&log.path).lines().count(), 3);
}

#[test]
fn the_process_has_one_that_can_be_changed() {
    let log = file();
    let second = file();
    // Before there is one, nothing is lost but the lines.
    assert_eq!((level(), dropped()), (Level::Info, 0));
    reopen().unwrap();
    plain("nowhere");
    init(ErrorLog::new(Target::File(log.path.clone()), Level::Warning)).unwrap();
    let here = "error_log_tests";
    tracing::info!(target: "rwsgi", "{here} too low");
    tracing::warn!(target: "rwsgi", "{here} one");
    set_level(Level::Debug);
    tracing::debug!(target: "rwsgi", "{here} two");
    plain("from the application\nin two lines");
    init(ErrorLog::new(Target::File(second.path.clone()), Level::Error)).unwrap();
    tracing::error!(target: "rwsgi", "{here} three");
    let nowhere = Target::File(log.path.join("x"));
    assert!(init(ErrorLog::new(nowhere, Level::Debug)).is_err());
    assert_eq!(level(), Level::Error);
    tracing::error!(target: "rwsgi", "{here} four");
    reopen().unwrap();
    let ours = |path: &Path| {
        read(path).lines().filter_map(|l| l.split_once(here).map(|(_, m)| m.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(ours(&log.path), [" one", " two"]);
    assert_eq!(ours(&second.path), [" three", " four"]);
    assert!(read(&log.path).contains("\nfrom the application\nin two lines\n"));
}
