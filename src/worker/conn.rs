//! What is one connection, between two turns of a thread?
//!
//! Must not know: other connections, threads, Python.
//!
//! Invariants:
//! 1. A connection is in exactly one [`Stage`]; what only one stage needs is inside it.
//! 2. An idle one holds no buffers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::body::BodyStore;
use super::listeners::Server;
use super::marks::Marks;
use super::output::Output;
use super::reply::Reply;
use super::transport::Stream;
use crate::door::{self, Endpoint};
use crate::http::connection::{Connection, Phase};

/// Where a connection stands.
pub enum Stage {
    /// Waiting for a PROXY header. Entered on accept where one is expected; holds nothing; leaves
    /// with the header or its refusal; the head's deadline runs.
    Announcing,
    /// Waiting for (more of) a request. Entered on accept and after each reply; leaves with a
    /// complete request, a refusal, or the end. The idle, head or body deadline runs.
    Receiving,
    /// A complete request waits for a thread that may enter the application. Its head is in
    /// `Conn::head`. No deadline runs: the wait is ours.
    Ready,
    /// The application has more to say than the socket takes. Leaves when the output is drained
    /// and the reply goes on. The write deadline runs.
    Replying(Box<dyn door::Reply>),
    /// The reply is complete; its last bytes wait for the socket. The write deadline runs.
    Flushing(After),
    /// The reply is complete and accounted for; it leaves together with those of other connections
    /// that are made now (see `crew::held`). The write deadline runs once the socket is full.
    Held(After),
    /// Our side is finished; what the client still sends is thrown away, so that it can read our
    /// last words instead of a reset. The linger deadline runs.
    Lingering,
    /// To be dropped.
    Closed,
}

/// What follows a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The next request.
    Reuse,
    /// The end; everything the client sent was read.
    Close,
    /// The end; the client may be sending still.
    Linger,
    /// A broken end, so that the client sees the reply is not whole.
    Abort,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing that has a deadline.
    Nothing,
    /// The next request, after a reply.
    Idle,
    /// A whole head: the first one from the beginning, later ones from their first byte.
    Head,
    /// More of a body.
    Body,
    /// The client to take more of a reply.
    Write,
    /// The client to end its side.
    Linger,
}

/// A connection.
pub struct Conn {
    /// Its socket.
    pub stream: Stream,
    /// The receiving half of its protocol.
    pub http: Connection,
    /// Bytes read and not consumed.
    pub input: Vec<u8>,
    /// The head of the request at hand, once it has to outlive the thread's buffer.
    pub head: Vec<u8>,
    /// Its body.
    pub body: BodyStore,
    /// Bytes on their way out.
    pub output: Output,
    /// The reply at hand.
    pub reply: Reply,
    /// What is noted of the request at hand.
    pub marks: Marks,
    /// Where it stands.
    pub stage: Stage,
    /// Its two ends.
    pub endpoint: Endpoint,
    /// The peer's address; `None` for a unix socket.
    pub peer: Option<IpAddr>,
    /// What the peer says about its own client is believed.
    pub trusted: bool,
    /// The ends as the sockets say them, once a request said otherwise.
    pub sockets: Option<Box<Endpoint>>,
    /// It waits for a thread that may enter the application.
    pub wants_in: bool,
    /// The application has, or had, a handle of its own: closing ours does not end it.
    pub handed_over: bool,
    /// It stands in the queue for that.
    pub queued: bool,
    /// There may be something to read.
    pub readable: bool,
    /// `input` may hold something the protocol has not seen.
    pub undigested: bool,
    /// The kernel says the peer has ended its side (or the connection): an end is there to read.
    pub hung_up: bool,
    /// The peer's end was read.
    pub ended: bool,
    /// Requests begun.
    pub requests: u64,
    /// What it waits for, and so which deadline runs.
    pub waiting: Waiting,
    /// When it has waited long enough, in milliseconds; 0: never.
    pub deadline: u64,
    /// When an idle connection gives back the memory it keeps for the next request; 0: not now.
    pub rest_at: u64,
    /// `Output::total` when the write deadline was last set.
    pub sent_then: u64,
    /// The earliest entry in the timers; 0: none.
    pub armed: u64,
    /// When the current body began, for its least rate.
    pub body_began: u64,
    /// When the current request went to the application, in nanoseconds; 0: it did not.
    pub started: u64,
    /// The application side's note about the field lines; 0 when they have changed.
    pub memo: u64,
}

impl Conn {
    /// A connection just accepted.
    pub fn new(
        stream: Stream,
        peer: Option<SocketAddr>,
        server: &Server,
        stage: Stage,
        trusted: bool,
    ) -> Self {
        let endpoint = endpoint(&stream, peer, server);
        Conn {
            stream,
            http: Connection::new(),
            input: Vec::new(),
            head: Vec::new(),
            body: BodyStore::Empty,
            output: Output::default(),
            reply: Reply::default(),
            marks: Marks::default(),
            stage,
            endpoint,
            peer: peer.map(|peer| peer.ip().to_canonical()),
            trusted,
            sockets: None,
            wants_in: false,
            handed_over: false,
            queued: false,
            readable: true,
            undigested: false,
            hung_up: false,
            ended: false,
            requests: 0,
            waiting: Waiting::Nothing,
            deadline: 0,
            rest_at: 0,
            sent_then: 0,
            armed: 0,
            body_began: 0,
            started: 0,
            memo: 0,
        }
    }

    /// When it has to be looked at next; 0: never.
    pub fn due(&self) -> u64 {
        match (self.deadline, self.rest_at) {
            (0, rest) => rest,
            (deadline, 0) => deadline,
            (deadline, rest) => deadline.min(rest),
        }
    }

    /// Whether all there is to do in its turn is to read (the beginning of) a request, and to answer it.
    pub fn is_expected(&self) -> bool {
        matches!(self.stage, Stage::Receiving)
            && self.http.phase() == Phase::Idle
            && self.input.is_empty()
            && self.readable
            && !self.ended
            && self.stream.is_plain()
    }

    /// Who the peer is, for the log.
    pub fn peer_name(&self) -> &str {
        match &*self.endpoint.remote_addr {
            "" => "unix",
            addr => addr,
        }
    }
}

/// The CGI variables of the two ends.
fn endpoint(stream: &Stream, peer: Option<SocketAddr>, server: &Server) -> Endpoint {
    Endpoint {
        https: !stream.is_plain(),
        remote_addr: peer.map_or_else(Box::default, |peer| peer.ip().to_canonical().to_string().into()),
        remote_port: peer.map(|peer| peer.port()),
        server_name: Arc::clone(&server.name),
        server_port: Arc::clone(&server.port),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its slot, its timer, its address and what the allocator adds, an idle connection is to
    /// stay below 1 KiB.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Conn>() <= 792, "{}", size_of::<Conn>());
    }
}
