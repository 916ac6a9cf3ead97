//! JSON that could be written and not be read again: it is nested too deep. No QEMU sends that, but the answers that a
//! `state` record puts together may be.

use qev_qmp::json::scan::MAX_NESTING;
use qev_qmp::{Json, Value};
use qev_record::Record;

/// Makes what is nested too deep a string with its text.
pub(crate) fn make(record: &mut Record) {
    let members = record.data.iter_mut().chain(&mut record.extra);
    for json in members.chain(record.unknown.iter_mut().map(|(_, value)| value)) {
        if is_too_deep(json) {
            *json = Json::from(&Value::from(json.as_text()));
        }
    }
}

/// Whether there is something to make.
pub(crate) fn is_needed(record: &Record) -> bool {
    let members = record.data.iter().chain(&record.extra);
    members.chain(record.unknown.iter().map(|(_, value)| value)).any(is_too_deep)
}

fn is_too_deep(json: &Json) -> bool {
    // Each level takes two characters.
    json.as_text().len() > 2 * MAX_NESTING && Json::parse(json.as_text()).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use qev_qmp::Timestamp;

    fn check(levels: usize, stays: bool) {
        let nested = (1..levels).fold(Value::from(Vec::new()), |inner, _| Value::from(vec![inner]));
        let data = Json::from(&nested);
        let mut record = Record::state("h1", "web1", Timestamp::UNKNOWN, data.clone());
        make(&mut record);
        let made = record.data.unwrap();
        assert_eq!(made == data, stays, "{levels} levels");
        assert_eq!(made.string().as_deref(), (!stays).then_some(data.as_text()));
        assert!(Json::parse(made.as_text()).is_ok());
    }

    #[test]
    fn what_is_nested_too_deep_is_kept_as_its_text() {
        check(3, true);
        check(MAX_NESTING, true);
        check(MAX_NESTING + 1, false);
    }
}
