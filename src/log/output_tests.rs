//! Pipes, sockets and files that take all, some or none of it.

use std::io::Read;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, pipe};

use super::*;

fn fill(output: &Output) -> usize {
    let mut written = 0;
    loop {
        match output.write(&[b'x'; 1000]) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return written;
            }
        }
    }
}

#[test]
fn a_full_pipe_does_not_block_and_keeps_its_shared_flags() {
    let (reader, writer) = pipe().unwrap();
    let shared = writer.try_clone().unwrap();
    let output = Output::inherited(writer).unwrap();
    assert_eq!(output.kind, Kind::NonBlocking);
    let written = fill(&output);
    assert!(written >= 4096);
    assert!(!output.wait(Duration::from_millis(1)));
    let flags = OFlag::from_bits_retain(fcntl(&shared, FcntlArg::F_GETFL).unwrap());
    assert!(!flags.contains(OFlag::O_NONBLOCK), "the other holders of the pipe still block");
    let mut buffer = vec![0; written];
    let mut reader = File::from(reader);
    reader.read_exact(&mut buffer).unwrap();
    assert!(output.wait(Duration::from_secs(5)));
    assert_eq!(output.write(b"more").unwrap(), 4);
}

#[test]
fn a_full_pipe_that_cannot_be_opened_again_does_not_block_either() {
    let (_reader, writer) = pipe().unwrap();
    let output = Output { file: File::from(writer), kind: Kind::Shared };
    assert_eq!(output.write(&[b'x'; 70_000]).unwrap(), PIPE_BUF, "no more than surely fits");
    fill(&output);
}

#[test]
fn a_reader_that_is_gone_is_an_error() {
    let (reader, writer) = pipe().unwrap();
    let output = Output::inherited(writer).unwrap();
    drop(reader);
    assert_eq!(output.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    let (near, far) = UnixStream::pair().unwrap();
    let output = Output::inherited(near.into()).unwrap();
    assert_eq!(output.kind, Kind::Socket);
    fill(&output);
    drop(far);
    let kind = output.write(b"x").unwrap_err().kind();
    assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{kind:?}");
}

#[test]
fn a_file_is_appended_to() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("log");
    std::fs::write(&path, "old\n").unwrap();
    let output = Output::open(&Target::File(path.clone())).unwrap();
    assert_eq!((output.kind, output.piece()), (Kind::Regular, usize::MAX));
    assert_eq!(output.write(b"new\n").unwrap(), 4);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\nnew\n");
}

#[test]
fn what_cannot_be_opened_is_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("none/log");
    let error = Output::open(&Target::File(path.clone())).unwrap_err();
    assert_eq!(error.error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().starts_with(&format!("cannot open log {}: ", path.display())));
    // A FIFO nobody reads is refused at once instead of stopping the start.
    let fifo = root.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    assert_eq!(Output::open(&Target::File(fifo)).unwrap_err().error.raw_os_error(), Some(libc::ENXIO));
}

#[test]
fn a_full_disk_is_an_error() {
    let output = Output::open(&Target::File("/dev/full".into())).unwrap();
    assert_eq!(output.write(b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn pieces_end_with_a_line_where_one_fits() {
    for (lines, limit, end) in [
        (&b"a\nb\nc\n"[..], 100, 6),
        (b"a\nb\nc\n", 5, 4),
        (b"a\nb\nc\n", 4, 4),
        (b"aaaaaaaaaa\nb\n", 4, 4),
        (b"", 4, 0),
    ] {
        assert_eq!(piece_end(lines, limit), end);
    }
}
