//! What does a percent-encoded path say?
//!
//! Must not know: which log it is for.

/// PATH_INFO: `%HH` becomes its byte, anything else stays.
pub fn decoded(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let byte = match tail {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        rest = match byte {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                &tail[2..]
            }
            None => {
                decoded.push(*first);
                tail
            }
        };
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
