//! The least a server on epoll can cost: for whatever arrives on a connection, a constant answer.
//! Nothing is parsed, checked, timed or counted. One of the floors of `benches/compare.py`.
//!
//! `constant PORT`

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: constant\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
Content-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(8000);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(64);
    let (mut streams, mut next) = (HashMap::<usize, TcpStream>::new(), 0);
    let mut buffer = [0; 65_536];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE)?;
                    streams.insert(next, stream);
                    next += 1;
                }
                continue;
            }
            let Token(key) = event.token();
            let Some(stream) = streams.get_mut(&key) else { continue };
            let alive = match stream.read(&mut buffer) {
                Ok(0) => false,
                Ok(_) => stream.write(ANSWER).is_ok(),
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            };
            if !alive {
                streams.remove(&key);
            }
        }
    }
}
