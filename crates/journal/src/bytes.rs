//! Small numbers in few bytes: seven bits a byte, the lowest first, the eighth says that more follow.

/// Appends a number.
pub(crate) fn push(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(low(n) | 0x80);
        n >>= 7;
    }
    out.push(low(n));
}

fn low(n: u64) -> u8 {
    u8::try_from(n & 0x7F).unwrap_or_default()
}

/// Appends bytes with their number before them.
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push(out, bytes.len().try_into().unwrap_or(u64::MAX));
    out.extend_from_slice(bytes);
}

/// Takes a number from the front; `None` when there is none.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        n |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

/// Takes bytes with their number before them from the front.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(bytes)?.try_into().ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_and_bytes_come_back(n in any::<u64>(), text in any::<Vec<u8>>(), small in 0_u64..300) {
            let mut out = Vec::new();
            push(&mut out, n);
            push_bytes(&mut out, &text);
            push(&mut out, small);
            let mut rest = &*out;
            prop_assert_eq!(take(&mut rest), Some(n));
            prop_assert_eq!(take_bytes(&mut rest), Some(&*text));
            prop_assert_eq!(take(&mut rest), Some(small));
            prop_assert_eq!(take(&mut rest), None);
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let mut rest = &*bytes;
            while take_bytes(&mut rest).is_some() {}
            let mut rest = &*bytes;
            while take(&mut rest).is_some() {}
        }
    }

    #[test]
    fn a_number_that_is_too_large_is_none() {
        assert_eq!(take(&mut &[0xFF; 10][..]), None);
        assert_eq!(take(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01][..]), Some(u64::MAX));
    }
}
