//! `QUORUM_REPORT_BAD`: a quorum child was found bad.
//!
//! Emitted by the quorum block driver for each child that failed a request (then with `error`) or that was outvoted:
//! its data differs from what the others agree on (then without). Since QEMU 2.0, with `type` since 2.6. At most one a
//! second for each child, whatever its `type`.

use super::fields::{Fields, open_enum, put_back};
use super::quorum_failure::sector_count;
use super::{EventError, Typed};
use crate::dialect::Dialect;
use crate::json::{Json, Object};

open_enum! {
    /// What the quorum was doing (`QuorumOpType`).
    QuorumOpType {
        /// Reading.
        Read = "read",
        /// Writing.
        Write = "write",
        /// Flushing: sectors are 0 and 0 then.
        Flush = "flush",
    }
}

/// A quorum child was found bad.
#[derive(Clone, Debug, PartialEq)]
pub struct QuorumReportBad {
    /// What the quorum was doing. QEMU sends it since 2.6; the document does not have it.
    pub op: Option<QuorumOpType>,
    /// What the block layer said, for people only: absent when the child answered, but wrongly.
    pub error: Option<Box<str>>,
    /// The node name of the child.
    pub node_name: Box<str>,
    /// The first sector of the request, in sectors of 512 bytes.
    pub sector_num: i64,
    /// How many sectors: `sector-count` in the document, `sectors-count` from QEMU.
    pub sector_count: i64,
    /// Members that qev does not know.
    pub extra: Object,
}

impl QuorumReportBad {
    /// The event's name.
    pub const NAME: &'static str = "QUORUM_REPORT_BAD";
    const FIELDS: Fields = Fields { event: Self::NAME };

    pub(super) fn decode(data: Option<&Json>) -> Result<QuorumReportBad, EventError> {
        let (mut op, mut error, mut node_name) = (None, None, None);
        let (mut sector_num, mut sector_count) = (None, None);
        let mut extra = Object::new();
        let fields = Self::FIELDS;
        fields.read(data, &mut extra, |name, scanner| {
            match name {
                "type" => op = Some((&*fields.string(scanner, "type")?).into()),
                "error" => error = Some(fields.string(scanner, "error")?),
                "node-name" => node_name = Some(fields.string(scanner, "node-name")?),
                "sector-num" => sector_num = Some(fields.integer(scanner, "sector-num")?),
                // One dialect has the one, the other the other; whoever has both means something that we do not know.
                "sectors-count" | "sector-count" if sector_count.is_none() => {
                    sector_count = Some(fields.integer(scanner, "sectors-count")?);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(QuorumReportBad {
            op,
            error,
            node_name: fields.required("node-name", node_name)?,
            sector_num: fields.required("sector-num", sector_num)?,
            sector_count: fields.required("sectors-count", sector_count)?,
            extra,
        })
    }

    pub(super) fn encode(&self, dialect: Dialect, dropped: &mut Vec<&'static str>) -> Object {
        let mut data = Object::new();
        match (&self.op, dialect) {
            (Some(op), Dialect::Qemu) => data.insert("type", op.as_str()),
            (Some(_), Dialect::Document) => dropped.push("type"),
            (None, _) => {}
        }
        if let Some(error) = &self.error {
            data.insert("error", &**error);
        }
        data.insert("node-name", &*self.node_name);
        data.insert("sector-num", self.sector_num);
        data.insert(sector_count(dialect), self.sector_count);
        put_back(&mut data, &self.extra);
        data
    }
}

impl From<QuorumReportBad> for Typed {
    fn from(event: QuorumReportBad) -> Typed {
        Typed::QuorumReportBad(event)
    }
}
