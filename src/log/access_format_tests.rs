//! What compiles, what does not, and what a format needs.

use super::*;

fn compile(format: &str) -> Result<AccessFormat, FormatError> {
    AccessFormat::compile_in(format, Zone::named("UTC"))
}

#[test]
fn a_refused_format_names_position_and_remedy() {
    for (format, position, problem) in [
        ("%", 1, "'%' without an atom; write %(h)s, or %% for a percent sign"),
        ("ab %s", 4, "'%' without an atom"),
        ("100% %(h)s", 4, "'%' without an atom"),
        ("\u{e9}\u{e9} %(h", 4, "an atom without its closing ')'"),
        ("%(h)s %(r)", 11, "%(r) without its conversion; write %(r)s"),
        ("%(h)x", 5, "'x' is no conversion; write %(h)s, or d or f for numbers"),
        ("%(D)*d", 5, "'*' is no conversion"),
        ("%(h)s%(h)d", 10, "'h' is text, not a number; write %(h)s"),
        ("%({x-id}i)d", 11, "'{x-id}i' is text, not a number"),
        ("%(L)f", 5, "'L' is text"),
        ("%(D)1001d", 5, "wider than 1000 characters"),
        ("%(D)99999999999999999999999d", 5, "wider than 1000 characters"),
        ("%(h)s\n", 6, "a line break; one request is one line"),
    ] {
        let error = compile(format).expect_err(format);
        assert_eq!(error.position, position, "{format}: {error}");
        assert!(error.problem.starts_with(problem), "{format}: {error}");
        assert!(error.to_string().starts_with(&format!("at character {position}: ")));
    }
}

#[test]
fn a_format_says_what_it_needs_once_and_in_order() {
    let needs = |format| compile(format).unwrap().needs().clone();
    assert_eq!(needs("plain %% %(h)s %(r)s %(nonsense)s"), Needs::default());
    assert_eq!(needs(AccessFormat::DEFAULT).request_fields, ["authorization", "referer", "user-agent"]);
    let all = needs(
        "%({X-Request-ID}i)s %(a)s %({user-agent}i)s %({Content-Type}o)s %({X-B}o)s %({x-b}O)s \
         %({REMOTE_USER}e)s %({wsgi.url_scheme}e)s %({REMOTE_USER}e)s",
    );
    assert_eq!(all.request_fields, ["x-request-id", "user-agent"]);
    assert_eq!(all.response_fields, ["content-type", "x-b"]);
    assert_eq!(all.environ, ["REMOTE_USER", "wsgi.url_scheme"]);
}

#[test]
fn simple_conversions_need_no_formatting() {
    for format in ["%(D)s", "%(D)d", "%(D)ld", "%(s)i", "%(h)s"] {
        let segments = compile(format).unwrap().segments;
        assert!(matches!(segments[..], [Segment::Atom(_)]), "{format}: {segments:?}");
    }
}
