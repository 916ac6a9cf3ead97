//! Commands that clients of a shared monitor had executed, as records.

use super::Who;
use crate::daemon::recorder::Outbox;
use crate::printer::now;
use qev_link::share::{Audited, Outcome};
use qev_qmp::{Json, Object, Value};
use qev_record::Record;
use qev_record::record::Audit;
use tokio::sync::mpsc;

/// How many commands may wait for the journal; whose there is no room for wait before they are executed.
pub(super) const ROOM: usize = 64;

/// Members of arguments that hold what nobody is to read: passwords, and the data of a secret.
const SECRET: [&str; 3] = ["password", "data", "secret"];

/// Keeps what is audited, until nobody audits any more.
pub(super) async fn keep(mut audited: mpsc::Receiver<Audited>, who: Who, outbox: Outbox) {
    while let Some(audited) = audited.recv().await {
        let mut record = record(&audited, &who);
        record.machine_id.clone_from(&who.machine_id);
        record.session.clone_from(&who.session);
        outbox.put(record).await;
    }
}

fn record(audited: &Audited, who: &Who) -> Record {
    let result = match &audited.outcome {
        Outcome::Done => "ok",
        Outcome::Failed(class) => class.as_str(),
        Outcome::Unanswered => "unanswered",
    };
    let audit = Audit {
        command: audited.command.clone(),
        arguments: audited.arguments.as_ref().map(without_secrets),
        left_out: audited.left_out,
        pid: audited.peer.pid,
        uid: audited.peer.uid,
        result: result.to_owned(),
    };
    Record::audit(who.host.clone(), who.machine.clone(), now(), &audit)
}

/// The arguments with a word in place of what is secret, however deep it lies.
fn without_secrets(arguments: &Json) -> Json {
    if !SECRET.iter().any(|name| arguments.as_text().contains(name)) {
        return arguments.clone();
    }
    Json::from(&masked(arguments.value()))
}

fn masked(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, member)| {
                let is_secret = SECRET.contains(&&*name) && member.as_str().is_some();
                let member = if is_secret { "(not kept)".into() } else { masked(member) };
                (name, member)
            });
            members.collect::<Object>().into()
        }
        Value::Array(items) => items.into_iter().map(masked).collect::<Vec<_>>().into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_kept() {
        let check = |given: &str, expected: &str| {
            assert_eq!(without_secrets(&Json::parse(given).unwrap()).as_text(), expected);
        };
        check(r#"{"n":  1e3}"#, r#"{"n":  1e3}"#);
        check(r#"{"protocol": "vnc", "password": "x"}"#, r#"{"protocol": "vnc", "password": "(not kept)"}"#);
        // Where something is hidden, the order of members is QEMU's.
        check(r#"{"a": [{"data": "x", "n": 1}]}"#, r#"{"a": [{"n": 1, "data": "(not kept)"}]}"#);
        check(r#"{"data": {"n": 1}}"#, r#"{"data": {"n": 1}}"#);
    }
}
