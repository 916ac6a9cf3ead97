//! Commands that clients of a shared monitor had executed, as records.

use super::{Who, safe_arguments};
use crate::daemon::recorder::Outbox;
use crate::printer::now;
use qev_link::share::{Audited, Outcome};
use qev_record::Record;
use qev_record::record::Audit;
use tokio::sync::mpsc;

/// How many commands may wait for the journal; whose there is no room for wait before they are executed.
pub(super) const ROOM: usize = 64;

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
        arguments: audited.arguments.as_ref().map(|arguments| safe_arguments::of(&audited.command, arguments)),
        left_out: audited.left_out,
        pid: audited.peer.pid,
        uid: audited.peer.uid,
        result: result.to_owned(),
    };
    Record::audit(who.host.clone(), who.machine.clone(), now(), &audit)
}
