//! What is computed about a request at most once while its route is looked up.

use super::RequestView;
use smallvec::SmallVec;
use std::{borrow::Cow, cell::OnceCell};

/// Query parameters, decoded, in order.
type Parameters<'r> = SmallVec<[(Cow<'r, str>, Cow<'r, str>); 4]>;

/// A request, with what is computed about it at most once.
pub(crate) struct Lookup<'r, R> {
    pub(super) request: &'r R,
    query: OnceCell<Parameters<'r>>,
}

impl<'r, R: RequestView> Lookup<'r, R> {
    pub(crate) fn new(request: &'r R) -> Self {
        Self {
            request,
            query: OnceCell::new(),
        }
    }

    /// The first query parameter of that name, percent-decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let query = self.query.get_or_init(|| {
            let text = self.request.query().unwrap_or_default();
            text.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect()
        });
        query
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_ref())
    }
}

/// Decodes `%XX`; what is not such an escape stays, and so does text that is not UTF-8 decoded.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        rest = match escape {
            Some((high, low)) => {
                bytes.push(high * 16 + low);
                tail.get(2..).unwrap_or_default()
            }
            None => {
                bytes.push(first);
                tail
            }
        };
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn escapes_are_decoded_and_the_rest_is_left_alone() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a%20b", "a b"),
            ("a+b", "a+b"),
            ("%41%c3%a9", "Aé"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%ff", "%ff"),
        ] {
            assert_eq!(decode(text), expected, "{text}");
        }
    }
}
