//! What the http room costs per request: `cargo bench --no-default-features --bench http`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rwsgi_core::http::connection::Connection;
use rwsgi_core::http::head::{Head, Version};
use rwsgi_core::http::limits::{Limits, Policy};
use rwsgi_core::http::response::{RequestFacts, ResponseHead, dispose, encode_head};
use rwsgi_core::http::{chunked, target};

const SMALL: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: localhost:8000\r\nAccept: */*\r\n\r\n";

/// What a browser sends: 14 fields.
const BROWSER: &[u8] = b"GET /accounts/profile/?page=2&sort=name HTTP/1.1\r\n\
Host: www.example.com\r\n\
Connection: keep-alive\r\n\
Cache-Control: max-age=0\r\n\
sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: navigate\r\n\
Referer: https://www.example.com/accounts/\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n\
Cookie: sessionid=0a1b2c3d4e5f60718293a4b5c6d7e8f9; csrftoken=AbCdEfGhIjKlMnOpQrStUvWxYz012345\r\n\r\n";

fn heads(c: &mut Criterion) {
    let (limits, policy) = (Limits::default(), Policy::default());
    let mut group = c.benchmark_group("head");
    for (name, bytes) in [("2 fields", SMALL), ("14 fields", BROWSER)] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut head = Head::new();
        group.bench_function(format!("{name}, recalled"), |b| {
            b.iter(|| head.parse(black_box(bytes), &limits, &policy, true))
        });
        // Another Accept in every second request: nothing can be recalled.
        let other = String::from_utf8_lossy(bytes).replace("Accept: ", "Accept: x").into_bytes();
        let mut odd = false;
        group.bench_function(format!("{name}, read"), |b| {
            b.iter(|| {
                odd = !odd;
                head.parse(black_box(if odd { bytes } else { &other }), &limits, &policy, true)
            })
        });
    }
    let mut connection = Connection::new();
    group.bench_function("14 fields, connection", |b| {
        b.iter(|| {
            let received = connection.receive(black_box(BROWSER), &limits, &policy, true);
            connection.next();
            received
        })
    });
    group.finish();
}

fn responses(c: &mut Criterion) {
    let facts = RequestFacts {
        version: Version::Http11,
        is_head: false,
        is_connect: false,
        wants_keep_alive: true,
        must_close: false,
        upgrade: false,
    };
    let (mut head, mut out) = (ResponseHead::new(), Vec::new());
    c.bench_function("response, 5 fields", |b| {
        b.iter(|| {
            let mut filled = head.start(black_box(b"200 OK"));
            for (name, value) in [
                (&b"Content-Type"[..], &b"text/html; charset=utf-8"[..]),
                (b"Content-Length", b"1234"),
                (b"Vary", b"Accept-Language, Cookie"),
                (b"X-Frame-Options", b"DENY"),
                (b"Set-Cookie", b"sessionid=0a1b2c3d4e5f60718293a4b5c6d7e8f9; HttpOnly; Path=/"),
            ] {
                filled = filled.and_then(|()| head.field(black_box(name), black_box(value)));
            }
            out.clear();
            let disposition = dispose(&facts, &head, None, false);
            let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
            encode_head(&mut out, Version::Http11, &head, &disposition, date, b"rwsgi");
            (filled, out.len())
        })
    });
}

fn bodies(c: &mut Criterion) {
    let limits = Limits::default();
    let mut stream = Vec::new();
    for _ in 0..16 {
        stream.extend_from_slice(b"1000\r\n");
        stream.extend_from_slice(&[b'x'; 4096]);
        stream.extend_from_slice(b"\r\n");
    }
    stream.extend_from_slice(b"0\r\n\r\n");
    c.bench_function("chunked, 16 x 4 KiB", |b| {
        b.iter(|| {
            let mut decoder = chunked::ChunkedDecoder::new();
            let (mut rest, mut size) = (black_box(stream.as_slice()), 0);
            while let Ok(found) = decoder.decode(rest, &limits) {
                size += found.data.len();
                rest = &rest[found.consumed..];
                if found.done {
                    break;
                }
            }
            size
        })
    });
    let mut out = Vec::new();
    c.bench_function("percent_decode, nothing to do", |b| {
        b.iter(|| target::percent_decode(black_box(b"/accounts/profile/settings/"), &mut out).len())
    });
}

criterion_group!(benches, heads, responses, bodies);
criterion_main!(benches);
