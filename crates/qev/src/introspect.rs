//! What a QEMU says of its own events, asked of itself: once a connection, for it is 200 KiB.

use crate::exit::{Exit, Failure};
use qev_link::{Client, ExecuteError};
use qev_qmp::introspect::{Schema, SchemaError};
use qev_qmp::{Event, Json, Value};
use std::fmt;
use std::time::Duration;

/// How long a QEMU may take to say it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// There is no schema to compare with.
#[derive(Debug)]
pub(crate) enum NoSchema {
    Execute(ExecuteError),
    Schema(SchemaError),
}

impl fmt::Display for NoSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoSchema::Execute(ExecuteError::Qmp(_)) => {
                f.write_str("this QEMU does not tell its schema; one since 2.5 does")
            }
            NoSchema::Execute(_) | NoSchema::Schema(_) => f.write_str("query-qmp-schema did not give a schema"),
        }
    }
}

impl std::error::Error for NoSchema {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NoSchema::Execute(error) => Some(error),
            NoSchema::Schema(error) => Some(error),
        }
    }
}

impl From<NoSchema> for Failure {
    fn from(error: NoSchema) -> Failure {
        let exit = match &error {
            NoSchema::Execute(error) => Exit::from(error),
            NoSchema::Schema(_) => Exit::Failed,
        };
        Failure::new(exit, error)
    }
}

/// Asks a QEMU for its schema.
pub(crate) async fn ask(client: &Client) -> Result<Schema, NoSchema> {
    let reply = client.execute_with_timeout("query-qmp-schema", None, TIMEOUT).await.map_err(NoSchema::Execute)?;
    Schema::parse(&reply).map_err(NoSchema::Schema)
}

/// Where an event departs from the schema, as a record has it: a list of sentences; `None` when it does not.
pub(crate) fn departs(schema: &Schema, event: &Event) -> Option<Json> {
    let departures = schema.check(event);
    let sentences: Vec<Value> = departures.iter().map(|departure| departure.to_string().into()).collect();
    (!sentences.is_empty()).then(|| Json::from(&Value::from(sentences)))
}
