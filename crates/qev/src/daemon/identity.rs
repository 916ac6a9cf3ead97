//! Which machine it is that speaks: what connects yesterday's records with today's.
//!
//! The first of these that there is: the name that the configuration gives it; its UUID, if that is not all zeros; the name
//! that it gives itself; the path of its monitor; its process, by id and start time. A QEMU process is a *session* of its
//! machine. Two live sessions may claim one identity, in a migration or with a lie: they are shown as two.

use qev_record::Record;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How long the name may be that a machine gives itself, in bytes: as long as that of a file.
pub(crate) const LONGEST_NAME: usize = 255;

/// What is known of a machine when it is attached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// What the configuration calls it.
    pub(crate) configured: Option<String>,
    /// What `query-uuid` says.
    pub(crate) uuid: Option<String>,
    /// What `query-name` says.
    pub(crate) name: Option<String>,
    /// Where its monitor is, when it is its alone.
    pub(crate) path: Option<PathBuf>,
    /// Which process it is.
    pub(crate) session: Option<String>,
    /// The process's id.
    pub(crate) pid: Option<u32>,
}

/// Which machine it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// Its name, for people.
    pub(crate) machine: Arc<str>,
    /// What is more than its name: its UUID, or the process that nothing else is known of.
    pub(crate) machine_id: Option<Arc<str>>,
}

impl Identity {
    /// The identity that follows from what is known.
    pub(crate) fn of(claims: Claims) -> Identity {
        let Claims { configured, uuid, name, path, session, pid } = claims;
        if let Some(name) = configured.filter(|name| !name.is_empty()) {
            return Identity { machine: name.into(), machine_id: None };
        }
        let uuid = uuid.filter(|uuid| is_uuid(uuid)).map(Arc::from);
        let name = name.filter(|name| !name.is_empty()).or_else(|| path.as_deref().and_then(stem)).map(Arc::from);
        match (name, uuid) {
            (Some(machine), machine_id) => Identity { machine, machine_id },
            (None, Some(uuid)) => Identity { machine: Arc::clone(&uuid), machine_id: Some(uuid) },
            (None, None) => {
                let machine = pid.map_or_else(|| "unknown".to_owned(), |pid| format!("pid-{pid}"));
                Identity { machine: machine.into(), machine_id: session.map(Arc::from) }
            }
        }
    }

    /// The identity that a record has.
    pub(crate) fn of_record(record: &Record) -> Identity {
        Identity { machine: Arc::clone(&record.machine), machine_id: record.machine_id.clone() }
    }

    /// What two sessions of one machine have in common, also across restarts of the daemon.
    pub(crate) fn key(&self) -> Arc<str> {
        Arc::clone(self.machine_id.as_ref().unwrap_or(&self.machine))
    }
}

/// A UUID as QEMU prints it. That of a machine which was given none is all zeros.
fn is_uuid(text: &str) -> bool {
    let shape = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    shape && text.bytes().any(|byte| byte != b'0' && byte != b'-')
}

/// What a machine is called that does not say: its socket's file name without its ending.
fn stem(path: &Path) -> Option<String> {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3f2a9c1e-0000-4000-8000-000000000001";
    const ZEROS: &str = "00000000-0000-0000-0000-000000000000";

    fn all() -> Claims {
        Claims {
            configured: Some("db".into()),
            uuid: Some(UUID.into()),
            name: Some("web1".into()),
            path: Some("/run/vm/100.qmp".into()),
            session: Some("pid-7@99".into()),
            pid: Some(7),
        }
    }

    fn check(claims: &Claims, machine: &str, key: &str) {
        let identity = Identity::of(claims.clone());
        assert_eq!((&*identity.machine, &*identity.key()), (machine, key), "{claims:?}");
    }

    #[test]
    fn the_first_of_configured_name_uuid_name_path_and_process_counts() {
        check(&all(), "db", "db");
        let claims = Claims { configured: None, ..all() };
        check(&claims, "web1", UUID);
        check(&Claims { name: None, ..claims.clone() }, "100", UUID);
        check(&Claims { name: None, path: None, ..claims.clone() }, UUID, UUID);
        let claims = Claims { uuid: Some(ZEROS.into()), ..claims };
        check(&claims, "web1", "web1");
        let claims = Claims { name: Some(String::new()), ..claims };
        check(&claims, "100", "100");
        let claims = Claims { path: None, ..claims };
        check(&claims, "pid-7", "pid-7@99");
        check(&Claims { session: None, pid: None, ..claims }, "unknown", "unknown");
    }

    #[test]
    fn no_machine_has_the_empty_name() {
        let nothing = Claims {
            configured: Some(String::new()),
            name: Some(String::new()),
            path: Some("/".into()),
            ..Claims::default()
        };
        check(&nothing, "unknown", "unknown");
    }

    #[test]
    fn what_is_no_uuid_is_none() {
        for uuid in ["", ZEROS, "web1", &format!("{UUID}0"), "3f2a9c1e-0000-4000-8000-00000000000g"] {
            check(&Claims { configured: None, uuid: Some(uuid.into()), ..all() }, "web1", "web1");
        }
    }
}
