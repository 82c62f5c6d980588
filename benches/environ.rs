//! What an environ costs: `cargo bench --features measure --bench environ`.
//!
//! The core is loaded into an interpreter ($PYTHON, or python3), as the launcher does, and asked to
//! make as many as Criterion wants; the interpreter's start is not in the figures.

#![allow(clippy::panic, reason = "a benchmark that cannot measure has to say so and end")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Loads the core by its path and prints the nanoseconds.
const PROGRAM: &str = "\
import sys, importlib.machinery as m, importlib.util as u
l = m.ExtensionFileLoader('rwsgi_core', sys.argv[1])
core = u.module_from_spec(u.spec_from_loader('rwsgi_core', l))
l.exec_module(core)
print(core.measure_environ(sys.argv[2].encode(), int(sys.argv[3]), sys.argv[4] == 'known'))
";

const BARE: &str = "GET /plaintext HTTP/1.1\r\nHost: localhost:8000\r\nAccept: */*\r\n\r\n";

/// What a browser sends: 14 fields.
const BROWSER: &str = "GET /accounts/profile/?page=2&sort=name HTTP/1.1\r\n\
Host: www.example.com\r\n\
Connection: keep-alive\r\n\
Cache-Control: max-age=0\r\n\
sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: navigate\r\n\
Referer: https://www.example.com/accounts/\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n\
Cookie: sessionid=0a1b2c3d4e5f60718293a4b5c6d7e8f9; csrftoken=AbCdEfGhIjKlMnOpQrStUvWxYz012345\r\n\r\n";

/// The core that was built with this benchmark.
fn core() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.parent()?.join("librwsgi_core.so")).filter(|core| core.is_file())
}

fn measure(core: &Path, request: &str, iterations: u64, kind: &str) -> Duration {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&python)
        .args(["-c", PROGRAM])
        .arg(core)
        .args([request, &iterations.to_string(), kind])
        .output();
    let said = output.map(|output| (String::from_utf8_lossy(&output.stdout).trim().parse(), output.stderr));
    match said {
        Ok((Ok(nanos), _)) => Duration::from_nanos(nanos),
        Ok((Err(_), complaint)) => panic!("{python}: {}", String::from_utf8_lossy(&complaint)),
        Err(error) => panic!("cannot run {python}: {error}"),
    }
}

fn environs(criterion: &mut Criterion) {
    let Some(core) = core() else { panic!("librwsgi_core.so is not beside this program") };
    let mut group = criterion.benchmark_group("environ");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for (name, request) in [("2 fields", BARE), ("14 fields", BROWSER)] {
        for kind in ["known", "new"] {
            group.bench_function(format!("{name}, {kind}"), |bencher| {
                bencher.iter_custom(|iterations| measure(&core, request, iterations, kind));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, environs);
criterion_main!(benches);
