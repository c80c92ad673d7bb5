use std::sync::atomic::{AtomicU64, Ordering};

/// What of a JSON text decides whether a type can read it, in 64 bits: field names, nesting, and the kinds of values.
///
/// ```text
/// {"id":7,"items":["a","b"],"note":null}    {id:number, items:[string], note:null}
/// ```
/// What strings say and how large numbers are is left out, and so is how many values of one shape follow each other in an array.
/// `None`: not the compact JSON that serde_json writes, nested too deep, or with a number that not every reader takes.
pub(crate) fn shape(json: &[u8]) -> Option<u64> {
    let mut walk = Walk { rest: json };
    let shape = walk.value(0)?;
    walk.rest.is_empty().then_some(shape)
}

/// Shapes that were seen; forgets none, takes no more than its places.
///
/// Lock-free, because every event that is persisted looks here. A race loses a place at most.
pub(crate) struct Shapes([AtomicU64; PLACES]);

impl Shapes {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(crate) fn contains(&self, shape: u64) -> bool {
        self.places(shape).any(|place| place.load(Ordering::Relaxed) == shape)
    }

    /// Does nothing where its places are taken.
    pub(crate) fn insert(&self, shape: u64) {
        for place in self.places(shape) {
            if place.compare_exchange(0, shape, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// The few places where a shape may stand.
    fn places(&self, shape: u64) -> impl Iterator<Item = &AtomicU64> {
        let first = usize::try_from((shape >> 32) % PLACES as u64).unwrap_or_default();
        self.0.iter().cycle().skip(first).take(PROBES)
    }
}

struct Walk<'a> {
    rest: &'a [u8],
}

impl Walk<'_> {
    fn value(&mut self, depth: usize) -> Option<u64> {
        match self.rest.first()? {
            b'"' => self.string().map(|_| STRING),
            b'{' if depth < DEEPEST => self.object(depth),
            b'[' if depth < DEEPEST => self.array(depth),
            b'n' => self.literal(b"null", NULL),
            b't' => self.literal(b"true", BOOLEAN),
            b'f' => self.literal(b"false", BOOLEAN),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize) -> Option<u64> {
        self.rest = &self.rest[1..];
        let (mut shape, mut first) = (OBJECT, true);
        while !self.take(b'}') {
            if !std::mem::take(&mut first) && !self.take(b',') {
                return None;
            }
            let name = self.string()?;
            shape = mix(shape, hash(name));
            if !self.take(b':') {
                return None;
            }
            shape = mix(shape, self.value(depth + 1)?);
        }
        Some(shape)
    }

    fn array(&mut self, depth: usize) -> Option<u64> {
        self.rest = &self.rest[1..];
        let (mut shape, mut last) = (ARRAY, None);
        while !self.take(b']') {
            if last.is_some() && !self.take(b',') {
                return None;
            }
            let value = self.value(depth + 1)?;
            if last != Some(value) {
                shape = mix(shape, value);
            }
            last = Some(value);
        }
        Some(shape)
    }

    /// A string's raw content.
    fn string(&mut self) -> Option<&[u8]> {
        let content = self.rest.strip_prefix(b"\"")?;
        let mut end = 0;
        loop {
            end += memchr::memchr2(b'"', b'\\', content.get(end..)?)?;
            if content[end] == b'"' {
                break;
            }
            // What is escaped does not end the string.
            end += 2;
        }
        self.rest = &content[end + 1..];
        Some(&content[..end])
    }

    fn number(&mut self) -> Option<u64> {
        let belongs = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let end = self.rest.iter().position(|byte| !belongs(byte));
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return Some(FRACTION);
        }
        // Types that go through serde's buffer read 64 bits at most.
        (number.len() < LONGEST_INTEGER).then_some(INTEGER)
    }

    fn literal(&mut self, text: &[u8], shape: u64) -> Option<u64> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(shape)
    }

    fn take(&mut self, byte: u8) -> bool {
        let Some((first, rest)) = self.rest.split_first() else { return false };
        let found = *first == byte;
        if found {
            self.rest = rest;
        }
        found
    }
}

fn hash(name: &[u8]) -> u64 {
    let mut hash = name.len() as u64;
    let mut chunks = name.chunks_exact(8);
    for chunk in &mut chunks {
        hash = mix(hash, chunk.try_into().map_or(0, u64::from_le_bytes));
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    mix(hash, u64::from_le_bytes(last))
}

/// Folds a full product, as wyhash does (<https://github.com/wangyi-fudan/wyhash>); never 0, which means an empty place.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9E37_79B9_7F4A_7C15) * u128::from(b ^ 0xE703_7ED1_A0B4_28DB);
    ((product >> 64) as u64 ^ product as u64) | 1
}

const PLACES: usize = 256;
const PROBES: usize = 4;
const DEEPEST: usize = 32;
const LONGEST_INTEGER: usize = 19;

const STRING: u64 = 0x11;
const INTEGER: u64 = 0x23;
const FRACTION: u64 = 0x35;
const BOOLEAN: u64 = 0x47;
const NULL: u64 = 0x59;
const OBJECT: u64 = 0x6B;
const ARRAY: u64 = 0x7D;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(value: &Value) -> Option<u64> {
        shape(value.to_string().as_bytes())
    }

    #[test]
    fn values_of_one_type_have_one_shape() {
        let one = json!({"id": 7, "name": "a \"quoted\\\" name", "items": [{"n": 1}], "open": true});
        let other = json!({"id": -71, "name": "", "items": [{"n": 4}, {"n": 5}, {"n": 6}], "open": false});
        assert!(of(&one).is_some());
        assert_eq!(of(&one), of(&other));
    }

    #[test]
    fn what_can_make_a_value_unreadable_makes_another_shape() {
        let before = json!({"id": 7, "rate": 1.5, "items": ["a"]});
        for after in [
            json!({"id": 7, "rate": null, "items": ["a"]}),
            json!({"id": 7, "rate": 1, "items": ["a"]}),
            json!({"id": 7, "rate": 1.5}),
            json!({"id": 7, "rate": 1.5, "items": []}),
            json!({"id": 7, "rate": 1.5, "items": ["a", null]}),
            json!({"id": 7, "rate": 1.5, "items": "a"}),
            json!({"id": 7, "ratio": 1.5, "items": ["a"]}),
            json!([7, 1.5, ["a"]]),
            json!({"id": {"id": 7, "rate": 1.5, "items": ["a"]}}),
        ] {
            assert_ne!(of(&before), of(&after), "{after}");
            assert!(of(&after).is_some(), "{after}");
        }
    }

    #[test]
    fn what_is_no_compact_json_has_no_shape() {
        for text in
            ["", "{\"a\" : 1}", "{\"a\":1", "{\"a\":1}x", "[1 ]", "\"open", "nul", "{\"a\":1,}", "\"\\"]
        {
            assert_eq!(shape(text.as_bytes()), None, "{text}");
        }
        assert_eq!(shape("[".repeat(100_000).as_bytes()), None, "deep");
        assert_eq!(of(&json!(u64::MAX)), None, "a number that not every reader takes");
    }

    #[test]
    fn shapes_are_remembered_until_their_places_are_taken() {
        let shapes = Shapes::new();
        assert!(!shapes.contains(5));
        shapes.insert(5);
        assert!(shapes.contains(5));
        for more in 0..10_000_u64 {
            shapes.insert(mix(1, more));
        }
        assert!(shapes.contains(5), "nothing is forgotten");
        let kept = (0..10_000_u64).filter(|more| shapes.contains(mix(1, *more))).count();
        assert!(kept < PLACES, "{kept} places");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_no_trouble(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let _ = shape(&bytes);
        }

        /// All that serde_json writes, as long as its numbers are small, has a shape that does not rest on what strings say.
        #[test]
        fn what_serde_json_writes_has_a_shape(
            names in proptest::collection::vec(".*", 0..5), texts in proptest::collection::vec(".*", 5),
        ) {
            let object = |text: &dyn Fn(usize) -> String| {
                let fields = names.iter().enumerate().map(|(at, name)| (name.clone(), Value::String(text(at))));
                Value::Object(fields.collect())
            };
            let (some, empty) = (of(&object(&|at| texts[at].clone())), of(&object(&|_| String::new())));
            proptest::prop_assert!(some.is_some());
            proptest::prop_assert_eq!(some, empty);
        }
    }
}
