//! `/api/v1/discover`: every QEMU on this host, whether it is attached, and the line that would attach it.
//!
//! The answer is what `qev machines --discover -o json` prints. Looking at all processes and sockets of a busy host takes
//! tens of milliseconds, so it is done at most once in [`FRESH`], however many callers ask.

use super::Site;
use super::problem::Problem;
use super::query::Parameters;
use crate::daemon::discover::{self, Ours, Report};
use crate::daemon::roster::Roster;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use qev_qmp::json::print::{Layout, Order};
use qev_qmp::{Object, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(5);

/// The QEMUs of this host, as they were when somebody asked last.
#[derive(Debug)]
pub(crate) struct Discovery {
    /// The sockets that QEMUs dial; the lines name the first.
    attach: Vec<PathBuf>,
    /// The newest answer, and when it was made. Callers that come while it is made wait for it.
    newest: Mutex<Option<(Instant, Bytes)>>,
}

impl Discovery {
    /// Creates one whose lines lead to these sockets.
    pub(crate) fn new(attach: Vec<PathBuf>) -> Discovery {
        Discovery { attach, newest: Mutex::default() }
    }

    async fn json(&self, roster: &Roster) -> Bytes {
        let mut newest = self.newest.lock().await;
        if let Some((_, json)) = newest.as_ref().filter(|(made, _)| made.elapsed() < FRESH) {
            return json.clone();
        }
        let ours = Ours {
            attached: roster.snapshot().into_iter().filter_map(|machine| machine.pid).collect(),
            attach: self.attach.clone(),
            has_daemon: true,
        };
        let found = tokio::task::spawn_blocking(|| discover::all(Path::new("/proc"))).await.unwrap_or_default();
        let json = Bytes::from(to_json(&discover::report(found, &ours).await));
        *newest = Some((Instant::now(), json.clone()));
        json
    }
}

fn to_json(reports: &[Report]) -> String {
    let qemus = reports.iter().map(|report| Value::from(report.to_object())).collect();
    Object::new().with("qemus", Value::Array(qemus)).print(Order::Given, Layout::Line) + "\n"
}

/// Answers with all of them.
pub(crate) async fn discover(State(site): State<Arc<Site>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Parameters::of(query.as_deref()).end(&[])?;
    let mut response = site.discovery.json(&site.view.roster).await.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_qemu_has_an_empty_list() {
        assert_eq!(to_json(&[]), "{\"qemus\": []}\n");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_used_again_while_it_is_fresh() {
        let (discovery, roster) = (Discovery::new(Vec::new()), Roster::default());
        let made = "{\"qemus\": [\"as it was\"]}\n";
        *discovery.newest.lock().await = Some((Instant::now(), Bytes::from(made)));
        tokio::time::advance(FRESH - Duration::from_millis(1)).await;
        assert_eq!(discovery.json(&roster).await, made);
        tokio::time::advance(Duration::from_millis(2)).await;
        assert_ne!(discovery.json(&roster).await, made);
    }
}
