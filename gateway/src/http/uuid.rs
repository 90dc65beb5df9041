//! Request identifiers.

/// A random version 4 UUID ([RFC 9562 5.4](https://www.rfc-editor.org/rfc/rfc9562#section-5.4))
/// as text. Unique, not secret.
pub(crate) fn uuid4() -> [u8; 36] {
    let mut bytes = fastrand::u128(..).to_be_bytes();
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = (*version & 0x0f) | 0x40;
    *variant = (*variant & 0x3f) | 0x80;
    let mut text = [b'-'; 36];
    let mut slots = text.iter_mut();
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            slots.next();
        }
        if let (Some(high), Some(low)) = (slots.next(), slots.next()) {
            (*high, *low) = PAIRS.get(usize::from(byte)).copied().unwrap_or_default();
        }
    }
    text
}

/// Every byte as two hexadecimal digits.
const PAIRS: [(u8, u8); 256] = {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [(0, 0); 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::indexing_slicing, reason = "in a constant, within both tables")]
        {
            pairs[at] = (HEX[at >> 4], HEX[at & 15]);
        }
        at += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::uuid4;

    #[test]
    fn identifiers_have_the_form_of_version_4() {
        let (one, other) = (uuid4(), uuid4());
        assert_ne!(one, other);
        for (at, byte) in one.into_iter().enumerate() {
            match at {
                8 | 13 | 18 | 23 => assert_eq!(byte, b'-'),
                14 => assert_eq!(byte, b'4'),
                19 => assert!(b"89ab".contains(&byte)),
                _ => assert!(byte.is_ascii_hexdigit()),
            }
        }
    }
}
