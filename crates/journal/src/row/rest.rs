//! The members of a record that few records have, one behind the other: a tag, a length, the bytes.

use crate::bytes::{push, push_bytes, take, take_bytes};
use qev_qmp::{Json, Timestamp, Value};
use qev_record::Record;

const DURABLE: u8 = 1;
const REASON: u8 = 2;
const FROM: u8 = 3;
const UNTIL: u8 = 4;
const MISSED: u8 = 5;
const EXTRA: u8 = 6;
const UNKNOWN: u8 = 7;
const RECEIVED: u8 = 8;
const TIMESTAMP: u8 = 9;

const DEPARTS: &str = "departs";
const UID: &str = "uid";

/// Times of a record that its columns cannot say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rest {
    pub(crate) received: Option<Timestamp>,
    pub(crate) timestamp: Option<Timestamp>,
}

impl Rest {
    pub(crate) fn write(self, record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        let mut member = |tag: u8, bytes: &[u8]| {
            out.push(tag);
            push_bytes(&mut out, bytes);
        };
        if let Some(durable) = record.durable {
            member(DURABLE, &[u8::from(durable)]);
        }
        if let Some(reason) = &record.reason {
            member(REASON, reason.as_bytes());
        }
        let times =
            [(FROM, record.from), (UNTIL, record.until), (RECEIVED, self.received), (TIMESTAMP, self.timestamp)];
        for (tag, time) in times {
            if let Some(time) = time {
                member(tag, &time_bytes(time));
            }
        }
        for (event, n) in &record.missed {
            let mut bytes = Vec::new();
            push(&mut bytes, *n);
            bytes.extend_from_slice(event.as_str().as_bytes());
            member(MISSED, &bytes);
        }
        if let Some(extra) = &record.extra {
            member(EXTRA, extra.as_text().as_bytes());
        }
        // These came later than the tags.
        let uid = record.uid.map(|uid| Json::from(&Value::from(u64::from(uid))));
        let uid = uid.iter().map(|uid| (UID, uid));
        let departs = record.departs.iter().map(|departs| (DEPARTS, departs));
        for (name, value) in uid.chain(departs).chain(record.unknown.iter().map(|(name, value)| (&**name, value))) {
            let mut bytes = Vec::new();
            push_bytes(&mut bytes, name.as_bytes());
            bytes.extend_from_slice(value.as_text().as_bytes());
            member(UNKNOWN, &bytes);
        }
        out
    }

    /// Puts the members into a record; `None` when that is not what the bytes are.
    pub(crate) fn read(mut bytes: &[u8], record: &mut Record) -> Option<()> {
        while let Some((tag, rest)) = bytes.split_first() {
            bytes = rest;
            let mut value = take_bytes(&mut bytes)?;
            match *tag {
                DURABLE => record.durable = Some(*value.first()? != 0),
                REASON => record.reason = Some(text(value)?.into()),
                FROM => record.from = Some(time(value)?),
                UNTIL => record.until = Some(time(value)?),
                RECEIVED => record.received = time(value)?,
                TIMESTAMP => record.timestamp = Some(time(value)?),
                MISSED => {
                    let n = take(&mut value)?;
                    record.missed.insert(text(value)?.into(), n);
                }
                EXTRA => record.extra = Some(json(value)?),
                UNKNOWN => {
                    let name = text(take_bytes(&mut value)?)?;
                    match name {
                        DEPARTS => record.departs = Some(json(value)?),
                        UID => record.uid = Some(u32::try_from(json(value)?.value().as_u64()?).ok()?),
                        name => record.unknown.push((name.into(), json(value)?)),
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }
}

fn time_bytes(time: Timestamp) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (seconds, microseconds) = bytes.split_at_mut(8);
    seconds.copy_from_slice(&time.seconds.to_le_bytes());
    microseconds.copy_from_slice(&time.microseconds.to_le_bytes());
    bytes
}

fn time(bytes: &[u8]) -> Option<Timestamp> {
    let (seconds, microseconds) = bytes.split_first_chunk()?;
    Some(Timestamp {
        seconds: i64::from_le_bytes(*seconds),
        microseconds: i64::from_le_bytes(microseconds.try_into().ok()?),
    })
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn json(bytes: &[u8]) -> Option<Json> {
    Json::parse(text(bytes)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_without_them_has_no_bytes() {
        let record = Record::attached("h1", "web1", Timestamp::UNKNOWN);
        assert!(Rest::default().write(&record).is_empty());
    }

    #[test]
    fn a_reason_takes_its_length_and_two_bytes() {
        let record = Record::detached("h1", "web1", Timestamp::UNKNOWN, "gone");
        assert_eq!(Rest::default().write(&record), b"\x02\x04gone");
    }

    #[test]
    fn keeps_the_members_that_came_after_the_tags() {
        let mut record = Record::attached("h1", "web1", Timestamp::UNKNOWN);
        record.uid = Some(u32::MAX);
        record.departs = Json::parse(r#"["there is no member 'x'"]"#).ok();
        let mut read = Record::attached("h1", "web1", Timestamp::UNKNOWN);
        Rest::read(&Rest::default().write(&record), &mut read).unwrap();
        assert_eq!(read, record);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let mut record = Record::attached("h1", "web1", Timestamp::UNKNOWN);
            let _ = Rest::read(&bytes, &mut record);
        }
    }
}
