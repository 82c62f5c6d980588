//! Sockets that are bound, kept, adopted and refused. See `listeners`.

use super::*;
use std::os::unix::net::UnixListener;

#[test]
fn only_an_abandoned_socket_file_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    remove_stale(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(remove_stale(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(listener);
    remove_stale(&path).unwrap();
    assert!(!path.exists());
    fs::write(&path, "precious").unwrap();
    assert_eq!(remove_stale(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert!(path.exists());
}

#[test]
fn a_full_queue_is_a_live_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let _queued = std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert_eq!(remove_stale(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn addresses_are_recognised_after_an_exec() {
    let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
    let cases = [
        (Bind::Host("127.0.0.1".into(), 80), tcp("127.0.0.1:80"), true),
        (Bind::Host("127.0.0.1".into(), 0), tcp("127.0.0.1:4711"), true),
        (Bind::Tcp("[::1]:80".parse().unwrap()), tcp("[::1]:80"), true),
        (Bind::Tcp("[::1]:80".parse().unwrap()), tcp("[::1]:81"), false),
        (Bind::Unix("/run/a".into()), Address::Unix("/run/a".into()), true),
        (Bind::Abstract(b"a".to_vec()), Address::Abstract(b"a".to_vec()), true),
        (Bind::Abstract(b"a".to_vec()), Address::Unix("a".into()), false),
        (Bind::Fd(3), tcp("127.0.0.1:80"), false),
    ];
    for (bind, address, expected) in cases {
        assert_eq!(means(&bind, &address), expected, "{bind:?} {address}");
    }
}

#[test]
fn every_kind_of_address_can_be_listened_at() {
    let cases = [
        bind_tcp("127.0.0.1:0".parse().unwrap(), 5),
        bind_tcp("[::1]:0".parse().unwrap(), 5),
        bind_abstract(format!("rwsgi-bind-{}", std::process::id()).as_bytes(), 5),
    ];
    for listener in cases {
        let shown = listener.unwrap().address().to_string();
        assert!(
            shown.starts_with("http://127.0.0.1:")
                || shown.starts_with("http://[::1]:")
                || shown.starts_with("unix:@rwsgi-bind-"),
            "{shown}"
        );
    }
    let error = BindError::new("1.2.3.4:80", bind_tcp("1.2.3.4:80".parse().unwrap(), 5).unwrap_err());
    assert_eq!(error.to_string(), "Invalid address: 1.2.3.4:80");
    assert!(error.is_passing());
}
