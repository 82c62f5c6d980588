//! What did the response before say? An application gives much the same fields again and again:
//! as long as their bytes are equal, from the first field on, what was made of them is still true.
//!
//! Must not know: what a field means, what was made of it.
//!
//! Invariant: an entry is found only behind the same entries, in the same order, as when it was
//! noted. So whatever follows from the fields so far follows again.

/// The most bytes of names and values that are noted.
const MOST: usize = 4096;

/// The fields of the response before, as far as this one repeats them.
#[derive(Debug, Clone)]
pub(super) struct Previous<T> {
    /// Names and values, one behind the other.
    raw: Vec<u8>,
    entries: Vec<Entry<T>>,
    /// How many entries were repeated or noted since the start.
    at: usize,
    /// Where the next one's bytes begin.
    raw_at: usize,
    /// A field was not noted: those behind it would not stand where they stood.
    full: bool,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    name: usize,
    value: usize,
    made: T,
}

impl<T> Default for Previous<T> {
    fn default() -> Self {
        Previous { raw: Vec::new(), entries: Vec::new(), at: 0, raw_at: 0, full: false }
    }
}

impl<T: Copy> Previous<T> {
    /// A new response begins.
    pub(super) fn rewind(&mut self) {
        (self.at, self.raw_at, self.full) = (0, 0, false);
    }

    /// What was made of this field if it is the next one again.
    pub(super) fn repeats(&mut self, name: &[u8], value: &[u8]) -> Option<T> {
        let entry = self.entries.get(self.at)?;
        let raw = self.raw.get(self.raw_at..self.raw_at + entry.name + entry.value)?;
        let same = entry.name == name.len() && raw.strip_prefix(name) == Some(value);
        if !same || self.full {
            return None;
        }
        self.at += 1;
        self.raw_at += raw.len();
        Some(entry.made)
    }

    /// How many fields of this response stand here, none missing.
    pub(super) fn count(&self) -> usize {
        self.at
    }

    /// The next one, with its value, for a caller who knows that it is the same again.
    pub(super) fn again(&mut self) -> Option<(T, &[u8])> {
        let entry = self.entries.get(self.at).filter(|_| !self.full)?;
        let value = self.raw_at + entry.name..self.raw_at + entry.name + entry.value;
        self.at += 1;
        self.raw_at = value.end;
        Some((entry.made, self.raw.get(value)?))
    }

    /// Forgets whatever came behind: this response goes another way.
    pub(super) fn cut(&mut self) {
        self.entries.truncate(self.at);
        self.raw.truncate(self.raw_at);
    }

    /// Notes a field that was not the next one.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8], made: T) {
        self.cut();
        self.full |= self.raw.len() + name.len() + value.len() > MOST;
        if self.full {
            return;
        }
        self.raw.extend_from_slice(name);
        self.raw.extend_from_slice(value);
        self.entries.push(Entry { name: name.len(), value: value.len(), made });
        self.at += 1;
        self.raw_at = self.raw.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(previous: &mut Previous<usize>, fields: &[(&str, &str)]) -> Vec<Option<usize>> {
        previous.rewind();
        let one = |(index, (name, value)): (usize, &(&str, &str))| {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let found = previous.repeats(name, value);
            if found.is_none() {
                previous.note(name, value, index);
            }
            found
        };
        fields.iter().enumerate().map(one).collect()
    }

    #[test]
    fn only_the_same_fields_in_the_same_order_are_repeated() {
        let mut previous = Previous::default();
        let fields = [("A", "1"), ("B", "2"), ("C", "3")];
        assert_eq!(run(&mut previous, &fields), [None, None, None]);
        assert_eq!(run(&mut previous, &fields), [Some(0), Some(1), Some(2)]);
        assert_eq!(run(&mut previous, &fields[..1]), [Some(0)], "a shorter one");
        assert_eq!(run(&mut previous, &fields), [Some(0), Some(1), Some(2)]);
        assert_eq!(run(&mut previous, &[("A", "1"), ("C", "3"), ("B", "2")]), [Some(0), None, None]);
        assert_eq!(run(&mut previous, &fields), [Some(0), None, None], "what was behind is forgotten");
        assert_eq!(run(&mut previous, &[("A1", "")]), [None], "name and value are told apart");
        assert_eq!(run(&mut previous, &[("A", "1")]), [None]);
    }

    #[test]
    fn who_knows_that_it_is_the_same_gets_what_was_made_of_it() {
        let mut previous = Previous::default();
        run(&mut previous, &[("A", "1"), ("B", "22")]);
        previous.rewind();
        assert_eq!(previous.again(), Some((0, &b"1"[..])));
        assert_eq!(previous.count(), 1);
        assert_eq!(previous.repeats(b"B", b"22"), Some(1), "either way is as good");
        assert_eq!(previous.again(), None, "no more");
        previous.rewind();
        assert_eq!(previous.repeats(b"A", b"1"), Some(0));
        previous.note(b"C", b"3", 2);
        previous.rewind();
        assert_eq!(previous.again(), Some((0, &b"1"[..])));
        assert_eq!(previous.again(), Some((2, &b"3"[..])), "what came last is what is remembered");
    }

    #[test]
    fn what_is_too_long_is_not_noted_nor_is_what_follows() {
        let mut previous = Previous::default();
        let long = "x".repeat(MOST);
        let fields = [("A", "1"), ("B", &long), ("C", "3")];
        for expected in [[None, None, None], [Some(0), None, None]] {
            assert_eq!(run(&mut previous, &fields), expected);
        }
    }
}
