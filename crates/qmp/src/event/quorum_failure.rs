//! `QUORUM_FAILURE`: no quorum could be established.
//!
//! Emitted by the quorum block driver when fewer children than its threshold agree: too few could be read or written, or
//! no version of the data has enough votes. The request fails. Since QEMU 2.0. At most one a second *for all quorums of
//! a machine together*. Never for a flush, nor with `read-pattern=fifo`.

use super::fields::{Fields, put_back};
use super::{EventError, Typed};
use crate::dialect::Dialect;
use crate::json::{Json, Object};

/// No quorum could be established.
#[derive(Clone, Debug, PartialEq)]
pub struct QuorumFailure {
    /// The device name if there is one, else the node name of the quorum.
    pub reference: Box<str>,
    /// The first sector of the failed request, in sectors of 512 bytes.
    pub sector_num: i64,
    /// How many sectors: `sector-count` in the document, `sectors-count` from QEMU.
    pub sector_count: i64,
    /// Members that qev does not know.
    pub extra: Object,
}

impl QuorumFailure {
    /// The event's name.
    pub const NAME: &'static str = "QUORUM_FAILURE";
    const FIELDS: Fields = Fields { event: Self::NAME };

    pub(super) fn decode(data: Option<&Json>) -> Result<QuorumFailure, EventError> {
        let (mut reference, mut sector_num, mut sector_count) = (None, None, None);
        let mut extra = Object::new();
        let fields = Self::FIELDS;
        fields.read(data, &mut extra, |name, scanner| {
            match name {
                "reference" => reference = Some(fields.string(scanner, "reference")?),
                "sector-num" => sector_num = Some(fields.integer(scanner, "sector-num")?),
                // One dialect has the one, the other the other; whoever has both means something that we do not know.
                "sectors-count" | "sector-count" if sector_count.is_none() => {
                    sector_count = Some(fields.integer(scanner, "sectors-count")?);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(QuorumFailure {
            reference: fields.required("reference", reference)?,
            sector_num: fields.required("sector-num", sector_num)?,
            sector_count: fields.required("sectors-count", sector_count)?,
            extra,
        })
    }

    pub(super) fn encode(&self, dialect: Dialect) -> Object {
        let mut data = Object::new()
            .with("reference", &*self.reference)
            .with("sector-num", self.sector_num)
            .with(sector_count(dialect), self.sector_count);
        put_back(&mut data, &self.extra);
        data
    }
}

/// What the dialect calls the number of sectors.
pub(super) fn sector_count(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Document => "sector-count",
        Dialect::Qemu => "sectors-count",
    }
}

impl From<QuorumFailure> for Typed {
    fn from(event: QuorumFailure) -> Typed {
        Typed::QuorumFailure(event)
    }
}
