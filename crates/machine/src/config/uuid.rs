//! The UUID of a machine, as `-uuid` takes it and `query-uuid` gives it.

use std::fmt;
use std::str::FromStr;

/// A UUID. All zeros, which is the default, is what a QEMU without `-uuid` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Uuid([u8; 16]);

/// The text is not a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAUuid(Box<str>);

impl fmt::Display for NotAUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a UUID: expected 32 hexadecimal digits in groups of 8-4-4-4-12, \
             such as 8a16fb5e-9f5c-4a4e-b0a4-6a1c9d5bd3f1",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for NotAUuid {}

impl Uuid {
    /// A UUID from its sixteen bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Uuid {
        Uuid(bytes)
    }

    /// Its sixteen bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for Uuid {
    type Err = NotAUuid;

    fn from_str(text: &str) -> Result<Uuid, NotAUuid> {
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let digits = groups.concat();
        if lengths != [8, 4, 4, 4, 12] || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotAUuid(text.into()));
        }
        let number = u128::from_str_radix(&digits, 16).map_err(|_| NotAUuid(text.into()))?;
        Ok(Uuid(number.to_be_bytes()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_goes_there_and_back_in_lower_case() {
        let uuid: Uuid = "8A16FB5E-9f5c-4a4e-b0a4-6a1c9d5bd3f1".parse().unwrap();
        assert_eq!(uuid.to_string(), "8a16fb5e-9f5c-4a4e-b0a4-6a1c9d5bd3f1");
        assert_eq!(Uuid::default().to_string(), "00000000-0000-0000-0000-000000000000");
        assert_eq!(Uuid::from_bytes(*uuid.as_bytes()), uuid);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "8a16fb5e", "8a16fb5e9f5c4a4eb0a46a1c9d5bd3f1", "8a16fb5e-9f5c-4a4e-b0a4-6a1c9d5bd3fg", "é-9-9-9-9"]
        {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }
}
