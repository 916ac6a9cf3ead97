//! `BALLOON_CHANGE`: the guest changed the balloon.
//!
//! Emitted when the guest's balloon driver writes a new size; the `balloon` command itself emits nothing. Since QEMU
//! 1.2. QEMU sends at most one a second: the first at once, then the last of each second.

use super::fields::{Fields, put_back};
use super::{EventError, Typed};
use crate::json::{Json, Object};

/// The guest changed the balloon. The same in both dialects.
#[derive(Clone, Debug, PartialEq)]
pub struct BalloonChange {
    /// The guest's memory as the balloon leaves it, in bytes: what `query-balloon` gives as `actual`.
    ///
    /// RAM, plugged DIMMs included, less the balloon's pages of 4096 bytes. A hostile guest can make it negative.
    pub actual: i64,
    /// Members that qev does not know.
    pub extra: Object,
}

impl BalloonChange {
    /// The event's name.
    pub const NAME: &'static str = "BALLOON_CHANGE";
    const FIELDS: Fields = Fields { event: Self::NAME };

    /// The event for this size, in bytes.
    pub fn new(actual: i64) -> BalloonChange {
        BalloonChange { actual, extra: Object::new() }
    }

    pub(super) fn decode(data: Option<&Json>) -> Result<BalloonChange, EventError> {
        let (mut actual, mut extra) = (None, Object::new());
        Self::FIELDS.read(data, &mut extra, |name, scanner| {
            match name {
                "actual" => actual = Some(Self::FIELDS.integer(scanner, "actual")?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(BalloonChange { actual: Self::FIELDS.required("actual", actual)?, extra })
    }

    pub(super) fn encode(&self) -> Object {
        let mut data = Object::new().with("actual", self.actual);
        put_back(&mut data, &self.extra);
        data
    }
}

impl From<BalloonChange> for Typed {
    fn from(event: BalloonChange) -> Typed {
        Typed::BalloonChange(event)
    }
}
