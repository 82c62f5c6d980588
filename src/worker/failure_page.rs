//! What answers for an application that cannot be loaded? In development, its traceback.
//!
//! Must not know: why it failed, when it will be loaded again.
//!
//! Invariant: the page is plain text: nothing in a traceback is taken for markup.

use crate::door::{App, Exchange, Flow, Sink, Step};
use crate::http::response::ResponseHead;

/// The most of a traceback that is shown.
const LONGEST: usize = 15 * 1024;

/// An application that says why the real one is not there.
#[derive(Debug)]
pub struct FailurePage {
    text: String,
}

impl FailurePage {
    /// The page for this message and traceback.
    pub fn new(message: &str, traceback: &str) -> Self {
        let mut text = match traceback.trim_end() {
            "" => format!("{message}\n"),
            traceback => format!("{traceback}\n\n{message}\n"),
        };
        if text.len() > LONGEST {
            // The end says what went wrong.
            let cut = (text.len() - LONGEST..text.len()).find(|at| text.is_char_boundary(*at));
            text.replace_range(..cut.unwrap_or(0), "...\n");
        }
        FailurePage { text }
    }
}

impl App for FailurePage {
    fn call(&self, _: &mut Exchange<'_>, out: &mut dyn Sink) -> Step {
        let mut head = ResponseHead::new();
        let fields = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ];
        let made = head.start(b"500 Internal Server Error").and_then(|()| {
            fields.iter().try_for_each(|(name, value)| head.field(name.as_bytes(), value.as_bytes()))
        });
        if made.and_then(|()| out.head(&head, Some(self.text.len() as u64))).is_err() {
            return Step::Failed;
        }
        // Short enough to be taken whole, or there is nobody to take it (HEAD, a lost client).
        match out.block(self.text.as_bytes(), false) {
            Flow::More | Flow::Full { .. } | Flow::Gone => Step::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_traceback_is_kept() {
        let page = FailurePage::new("m", &"é".repeat(LONGEST));
        assert!(
            page.text.len() <= LONGEST + 4
                && page.text.starts_with("...\né")
                && page.text.ends_with("é\n\nm\n")
        );
        assert_eq!(FailurePage::new("only this", "").text, "only this\n");
    }
}
