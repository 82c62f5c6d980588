//! Does the seam keep its word? Held against a session whose secret is to add one to every byte.

use std::any::Any;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

/// One byte of ciphertext for each of plaintext. The handshake is one byte (22), answered by `@`;
/// 0 is the peer's leave, 1 breaks the session, 2 means nothing.
#[derive(Debug, Default)]
struct Fake {
    shaken: AtomicBool,
    waiting: Mutex<Vec<u8>>,
}

#[derive(Debug)]
struct Fakes;

impl Secure for Fakes {
    fn session(&self) -> Result<Arc<dyn Session>, String> {
        Ok(Arc::new(Fake::default()))
    }
}

impl Session for Fake {
    fn open(&self, buffer: &mut [u8], came: usize, out: &mut Vec<u8>) -> Opened {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.extend_from_slice(&buffer[..came]);
        let mut plaintext = 0;
        let mut next = Next::Wants;
        while !waiting.is_empty() {
            if plaintext == buffer.len() {
                next = Next::More;
                break;
            }
            match waiting.remove(0) {
                byte if !self.shaken.load(Ordering::Relaxed) => {
                    if byte != HANDSHAKE {
                        let reason = "no greeting".to_owned();
                        next = Next::Failed { handshake: true, reason };
                        break;
                    }
                    self.shaken.store(true, Ordering::Relaxed);
                    out.push(b'@');
                }
                0 => {
                    next = Next::Ended;
                    break;
                }
                1 => {
                    next = Next::Failed { handshake: false, reason: "broken".to_owned() };
                    break;
                }
                2 => {}
                byte => {
                    buffer[plaintext] = byte - 1;
                    plaintext += 1;
                }
            }
        }
        Opened { plaintext, next }
    }

    fn seal(&self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        out.extend(plaintext.iter().map(|byte| byte.wrapping_add(1)));
        Ok(())
    }

    fn close(&self, out: &mut Vec<u8>) {
        if self.shaken.load(Ordering::Relaxed) {
            out.push(0);
        }
    }

    fn any(&self) -> &dyn Any {
        self
    }
}

fn pair(ragged: bool) -> (Tls, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let secure: Arc<dyn Secure> = Arc::new(Fakes);
    let tls = Tls::new(Stream::Unix(mio::net::UnixStream::from_std(ours)), &secure, ragged);
    tls.begin(&[]);
    (tls, theirs)
}

/// A pair whose handshake is done.
fn met() -> (Tls, UnixStream) {
    let (tls, mut theirs) = pair(true);
    theirs.write_all(&[HANDSHAKE]).unwrap();
    assert!(is_blocked(tls.read(&mut [0; 8])));
    assert_eq!(take(&mut theirs, 1), b"@");
    (tls, theirs)
}

fn take(stream: &mut UnixStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn is_blocked<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn trouble<T: fmt::Debug>(result: io::Result<T>) -> Trouble {
    let error = result.unwrap_err();
    error.get_ref().and_then(|error| error.downcast_ref::<Trouble>()).unwrap().clone()
}

fn read(tls: &Tls, room: usize) -> (Vec<u8>, bool) {
    let mut buffer = vec![0; room];
    let Taken { count, more } = tls.read(&mut buffer).unwrap();
    buffer.truncate(count);
    (buffer, more)
}

#[test]
fn what_comes_is_opened_and_what_goes_is_sealed() {
    let (tls, mut theirs) = met();
    theirs.write_all(b"bcd").unwrap();
    assert_eq!(read(&tls, 8), (b"abc".to_vec(), false));
    assert_eq!(tls.write(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")]).unwrap(), 3);
    assert_eq!(take(&mut theirs, 3), b"bcd");
    assert!(is_blocked(tls.read(&mut [0; 8])));
}

#[test]
fn a_handshake_and_a_request_may_come_together_or_byte_by_byte() {
    let (tls, mut theirs) = pair(true);
    theirs.write_all(&[HANDSHAKE, b'b']).unwrap();
    assert_eq!(read(&tls, 8).0, b"a");
    assert_eq!(take(&mut theirs, 1), b"@");
    let (tls, mut theirs) = pair(true);
    assert!(is_blocked(tls.read(&mut [0; 8])));
    for byte in [HANDSHAKE, 2, 2] {
        theirs.write_all(&[byte]).unwrap();
        assert!(is_blocked(tls.read(&mut [0; 8])));
    }
}

#[test]
fn plaintext_that_finds_no_room_is_said_to_be_there() {
    let (tls, mut theirs) = met();
    theirs.write_all(b"bcdefg").unwrap();
    let mut all = Vec::new();
    loop {
        let (bytes, more) = read(&tls, 4);
        all.extend(bytes);
        if all.len() == 6 {
            break;
        }
        assert!(more, "nobody else would say so");
    }
    assert_eq!(all, b"abcdef");
}

#[test]
fn the_end_is_read_after_the_data() {
    for last in [&b"b\0"[..], b"b"] {
        let (tls, mut theirs) = met();
        theirs.write_all(last).unwrap();
        drop(theirs);
        assert_eq!(read(&tls, 8).0, b"a");
        assert_eq!(read(&tls, 8).0, b"");
        assert_eq!(read(&tls, 8).0, b"", "and stays");
    }
}

#[test]
fn a_torn_session_is_an_end_only_where_it_may_be() {
    let (tls, mut theirs) = pair(false);
    theirs.write_all(&[HANDSHAKE, b'b']).unwrap();
    assert_eq!(read(&tls, 8).0, b"a");
    assert_eq!(take(&mut theirs, 1), b"@", "or its end is a reset");
    drop(theirs);
    assert!(matches!(trouble(tls.read(&mut [0; 8])), Trouble::Broken(_)));
    // Who has not said a word has broken none.
    let (tls, theirs) = pair(false);
    drop(theirs);
    assert_eq!(read(&tls, 8), (Vec::new(), false));
}

#[test]
fn data_before_a_fault_is_still_read() {
    let (tls, mut theirs) = met();
    theirs.write_all(b"b\x01").unwrap();
    assert_eq!(read(&tls, 8), (b"a".to_vec(), true));
    assert_eq!(trouble(tls.read(&mut [0; 8])), Trouble::Broken("broken".into()));
}

#[test]
fn plain_http_is_told_from_garbage() {
    for text in [&b"GET / HTTP/1.1\r\n"[..], b"\r\nGET /"] {
        let (tls, mut theirs) = pair(true);
        theirs.write_all(text).unwrap();
        assert_eq!(trouble(tls.read(&mut [0; 64])), Trouble::Plain);
        assert_eq!(tls.write(&[IoSlice::new(b"no")]).unwrap(), 2);
        assert_eq!(take(&mut theirs, 2), b"no");
    }
    let (tls, mut theirs) = pair(true);
    theirs.write_all(b"\x80\x2e\x01").unwrap();
    assert_eq!(trouble(tls.read(&mut [0; 64])), Trouble::Handshake("no greeting".into()));
}

#[test]
fn a_peer_that_sends_no_data_at_all_is_sent_away() {
    let (tls, mut theirs) = met();
    let mut buffer = vec![0; RECORDS];
    let mut sent = 0;
    let trouble = loop {
        theirs.write_all(&[2; 4096]).unwrap();
        sent += 4096;
        assert!(sent < 3 * FRUITLESS);
        match tls.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => break trouble(other),
        }
    };
    assert!(matches!(trouble, Trouble::Broken(_)) && sent >= FRUITLESS, "{sent}");
}

/// Writes all of `bytes`, reading the other end whenever nothing more fits.
fn pour(tls: &Tls, theirs: &mut UnixStream, bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut taken, mut seen, mut blocked) = (0, Vec::new(), 0);
    while taken < bytes.len() {
        match tls.write(&[IoSlice::new(&bytes[taken..])]) {
            Ok(count) => taken += count,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                assert!(tls.state().out.len() <= RECORDS, "bounded");
                blocked += 1;
                let mut piece = [0; 10_000];
                let count = theirs.read(&mut piece).unwrap();
                seen.extend_from_slice(&piece[..count]);
            }
        }
    }
    (seen, blocked)
}

#[test]
fn written_is_what_the_kernel_has() {
    let (tls, mut theirs) = met();
    let bytes: Vec<u8> = (0..2_000_000u32).map(|index| (index % 251) as u8).collect();
    let (mut seen, blocked) = pour(&tls, &mut theirs, &bytes);
    assert!(blocked > 0);
    assert_eq!(tls.state().waiting(), 0);
    let rest = bytes.len() - seen.len();
    seen.extend(take(&mut theirs, rest));
    assert!(seen.iter().zip(&bytes).all(|(seen, byte)| *seen == byte.wrapping_add(1)));
}

#[test]
fn a_client_that_takes_a_little_is_seen_to_do_so() {
    let (tls, mut theirs) = met();
    let block = vec![b'a'; RECORDS];
    let mut first = 0;
    while let Ok(count) = tls.write(&[IoSlice::new(&block)]) {
        first += count;
    }
    let mut progress = 0;
    for _ in 0..50 {
        let _ = theirs.read(&mut [0; 20_000]).unwrap();
        if let Ok(count) = tls.write(&[IoSlice::new(&block[..RECORDS])]) {
            progress += count;
        }
    }
    assert!(first > 0 && progress > 0);
}

#[test]
fn files_are_sealed_too() {
    let (tls, mut theirs) = met();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let mut offset = 4;
    assert_eq!(tls.send_file(&file, &mut offset, 3).unwrap(), 3);
    assert_eq!((offset, take(&mut theirs, 3)), (7, b"567".to_vec()));
    offset = 10;
    assert_eq!(tls.send_file(&file, &mut offset, 3).unwrap(), 0);
}

#[test]
fn an_answer_of_the_sessions_waits_and_reading_with_it() {
    let (tls, mut theirs) = pair(true);
    let filled = {
        let mut filled = 0;
        while let Ok(count) = tls.socket().write(&[IoSlice::new(&[b'.'; 4096])]) {
            filled += count;
        }
        filled
    };
    theirs.write_all(&[HANDSHAKE, b'b']).unwrap();
    // The data came with the handshake; the answer to that is still here.
    assert_eq!(read(&tls, 8), (b"a".to_vec(), true));
    theirs.write_all(b"c").unwrap();
    assert!(is_blocked(tls.read(&mut [0; 8])));
    assert!(!tls.catch_up(), "nothing has changed");
    take(&mut theirs, filled);
    assert!(tls.catch_up());
    assert_eq!(take(&mut theirs, 1), b"@");
    assert_eq!(read(&tls, 8).0, b"b");
    assert!(!tls.catch_up());
}

#[test]
fn leave_is_taken_once_and_not_where_there_is_none_to_take() {
    let (tls, mut theirs) = met();
    tls.finish().unwrap();
    theirs.write_all(b"more").unwrap();
    assert_eq!(read(&tls, 8).0, b"more", "thrown away: not looked at");
    drop(tls);
    assert_eq!(take(&mut theirs, 1), [0]);
    assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 0);

    let (tls, mut theirs) = met();
    drop(tls);
    assert_eq!((take(&mut theirs, 1), theirs.read(&mut [0; 8]).unwrap()), (vec![0], 0));

    let (tls, mut theirs) = met();
    tls.be_silent();
    drop(tls);
    assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 0);

    // A reply that is cut must not look like one that ends.
    let (tls, mut theirs) = met();
    let block = vec![b'a'; RECORDS];
    while tls.write(&[IoSlice::new(&block)]).is_ok() {}
    drop(tls);
    let mut rest = Vec::new();
    theirs.read_to_end(&mut rest).unwrap();
    assert!(!rest.contains(&0));
}

#[test]
fn leave_waits_for_room() {
    let (tls, mut theirs) = met();
    let mut filled = 0;
    while let Ok(count) = tls.socket().write(&[IoSlice::new(&[b'.'; 4096])]) {
        filled += count;
    }
    assert!(!tls.leave());
    theirs.write_all(b"more").unwrap();
    assert!(is_blocked(tls.read(&mut [0; 8])));
    assert!(!tls.catch_up(), "nothing has changed");
    take(&mut theirs, filled);
    assert!(tls.catch_up());
    assert_eq!(read(&tls, 8).0, b"more");
    assert_eq!((take(&mut theirs, 1), theirs.read(&mut [0; 8]).unwrap()), (vec![0], 0));
}

#[test]
fn a_header_in_the_clear_comes_first() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let secure: Arc<dyn Secure> = Arc::new(Fakes);
    let tls = Tls::new(Stream::Unix(mio::net::UnixStream::from_std(ours)), &secure, true);
    theirs.write_all(&[b'P', b'R', b'O', HANDSHAKE, b'b']).unwrap();
    let (bytes, _) = read(&tls, 64);
    assert_eq!(bytes[..3], *b"PRO");
    tls.begin(&bytes[3..]);
    theirs.write_all(b"c").unwrap();
    let (first, more) = read(&tls, 64);
    assert_eq!((first, more), (b"a".to_vec(), true));
    assert_eq!(read(&tls, 64).0, b"b");
}
