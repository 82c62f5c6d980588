//! Whether what is handed to the courier arrives, in order, whatever becomes of who handed it over.

use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn pair() -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    (Stream::Unix(mio::net::UnixStream::from_std(ours)), theirs)
}

fn ends() -> (Arc<Courier>, Arc<Parcel>) {
    (Arc::default(), Arc::default())
}

fn read(stream: &mut UnixStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// As if the block before had been sent just now, on however slow a machine.
fn put(express: &mut Express<'_>, stream: &Stream, output: &mut Output, text: &[u8]) -> Flushed {
    output.buffer().extend_from_slice(text);
    express.last_ns = now_ns() + SOON_NS;
    match express.carry(stream, output) {
        true => Flushed::Drained,
        false => {
            express.regain(output).unwrap();
            output.flush(stream).unwrap()
        }
    }
}

#[test]
fn what_is_handed_over_arrives_though_nothing_follows() {
    let (courier, parcel) = ends();
    let (stream, mut client) = pair();
    let (mut express, mut output) = (Express::new(&courier, &parcel), Output::default());
    for text in ["one", "two", "six"] {
        assert_eq!(put(&mut express, &stream, &mut output, text.as_bytes()), Flushed::Drained);
        assert_eq!(output.pending(), 0);
        assert_eq!(read(&mut client, 3), text.as_bytes());
    }
    express.regain(&mut output).unwrap();
    assert_eq!((output.pending(), output.total), (0, 9));
}

#[test]
fn order_is_kept_whoever_sends() {
    let (courier, parcel) = ends();
    let (stream, mut client) = pair();
    let mut expected = Vec::new();
    let mut output = Output::default();
    for round in 0..2_000u32 {
        let mut express = Express::new(&courier, &parcel);
        for step in 0..round % 7 {
            let text = format!("{round}.{step} ");
            put(&mut express, &stream, &mut output, text.as_bytes());
            expected.extend_from_slice(text.as_bytes());
            if (round + step) % 5 == 0 {
                express.regain(&mut output).unwrap();
                assert_eq!(output.flush(&stream).unwrap(), Flushed::Drained);
            }
        }
        express.regain(&mut output).unwrap();
        assert_eq!(output.flush(&stream).unwrap(), Flushed::Drained);
        let more = read(&mut client, expected.len());
        assert_eq!(more, expected);
        expected.clear();
    }
}

#[test]
fn a_client_that_reads_nothing_is_noticed_and_served_when_it_does() {
    let (courier, parcel) = ends();
    let (stream, mut client) = pair();
    let (mut express, mut output) = (Express::new(&courier, &parcel), Output::default());
    let block = [b'x'; 8192];
    let mut sent = 0;
    while put(&mut express, &stream, &mut output, &block) == Flushed::Drained {
        sent += block.len();
    }
    sent += block.len();
    assert!(output.is_blocked());
    let waiting = output.pending();
    let mut taken = read(&mut client, sent - waiting).len();
    output.unblock();
    while taken < sent {
        let _ = output.flush(&stream).unwrap();
        output.unblock();
        let mut buffer = [0; 4096];
        taken += client.read(&mut buffer).unwrap();
    }
    assert_eq!((taken, output.pending()), (sent, 0));
}

#[test]
fn a_client_that_is_gone_is_an_error_for_whoever_comes_next() {
    let (courier, parcel) = ends();
    let (stream, client) = pair();
    let (mut express, mut output) = (Express::new(&courier, &parcel), Output::default());
    drop(client);
    output.buffer().extend_from_slice(b"lost");
    assert!(express.carry(&stream, &mut output));
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while parcel.load().failed.is_none() && std::time::Instant::now() < end {
        std::thread::yield_now();
    }
    output.buffer().extend_from_slice(b"more");
    assert!(!express.carry(&stream, &mut output));
    assert!(express.regain(&mut output).is_err());
}

#[test]
fn what_is_left_is_found_unless_it_is_regained_in_time() {
    let courier = Arc::new(Courier::default());
    courier.watch(true);
    let parcel = courier.parcel();
    let (stream, mut client) = pair();
    let mut output = Output::default();
    for found in [false, true] {
        let mut express = Express::new(&courier, &parcel);
        output.buffer().extend_from_slice(b"end");
        assert!(express.leave(&stream, &mut output, u64::MAX) && express.has_left());
        // As if it had been a moment ago, on however slow a machine.
        parcel.load().left_at = now_ns() + SOON_NS;
        assert_eq!(courier.rescue(), Rescued::Waits, "it is too early");
        if found {
            parcel.load().left_at = now_ns() - PATIENCE_NS;
            assert_ne!(courier.rescue(), Rescued::Waits);
            assert_eq!(read(&mut client, 3), b"end");
        }
        express.regain(&mut output).unwrap();
        assert_eq!((output.pending(), express.has_left()), (if found { 0 } else { 3 }, false));
        assert_eq!(output.flush(&stream).unwrap(), Flushed::Drained);
        if !found {
            assert_eq!(read(&mut client, 3), b"end");
        }
    }
    assert_eq!(parcel.load().left_at, 0);
}

#[test]
fn nothing_is_left_where_nobody_looks_nor_too_late() {
    let courier = Arc::new(Courier::default());
    let parcel = courier.parcel();
    let (stream, mut client) = pair();
    let (mut express, mut output) = (Express::new(&courier, &parcel), Output::default());
    output.buffer().extend_from_slice(b"end");
    assert!(!express.leave(&stream, &mut output, u64::MAX), "nobody has come yet");
    courier.watch(true);
    assert!(!express.leave(&stream, &mut output, now_ns() - 1), "it is too late");
    assert_eq!((output.pending(), express.has_left()), (3, false));
    assert!(express.leave(&stream, &mut output, u64::MAX));
    courier.watch(false);
    courier.rescue_all();
    assert_eq!(read(&mut client, 3), b"end");
    express.regain(&mut output).unwrap();
    output.buffer().extend_from_slice(b"more");
    assert!(!express.leave(&stream, &mut output, u64::MAX), "nobody is there any more");
}

#[test]
fn a_dropped_express_leaves_nothing_behind() {
    let (courier, parcel) = ends();
    let (stream, mut client) = pair();
    let mut output = Output::default();
    // Held, so that the courier cannot send in between.
    parcel.load().queued = true;
    let mut express = Express::new(&courier, &parcel);
    output.buffer().extend_from_slice(b"of the last reply");
    assert!(express.carry(&stream, &mut output));
    drop(express);
    assert_eq!(parcel.load().pending(), 0);
    let Stream::Unix(socket) = &stream else { unreachable!("made so") };
    (&mut &*socket).write_all(b"!").unwrap();
    assert_eq!(read(&mut client, 1), b"!");
}
