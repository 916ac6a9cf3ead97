//! Where things lie when nobody says otherwise: the state, the sockets, the configuration.
//!
//! | what | as root | as another user |
//! |---|---|---|
//! | state | `/var/lib/qev` | `$XDG_STATE_HOME/qev`, else `~/.local/state/qev` |
//! | sockets | `/run/qev` | `$XDG_RUNTIME_DIR/qev`, else `run` in the state's folder |
//! | configuration | `/etc/qev/config.toml` | `$XDG_CONFIG_HOME/qev/config.toml`, else `~/.config/qev/config.toml` |

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// Where the daemon of the whole host keeps its state.
pub(crate) const STATE_OF_HOST: &str = "/var/lib/qev";
pub(crate) const SOCKETS_OF_HOST: &str = "/run/qev";
pub(crate) const CONFIG_OF_HOST: &str = "/etc/qev/config.toml";

/// The default places of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// The folder of the journal and of the daemon's own socket.
    pub(crate) state_dir: PathBuf,
    /// The folder of the sockets that QEMUs dial.
    pub(crate) run_dir: PathBuf,
    /// The configuration, which need not be there.
    pub(crate) config_file: PathBuf,
}

/// There is no telling where this user's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoHome;

impl fmt::Display for NoHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the variable HOME names no folder: set it, or say where the state is with --state-dir")
    }
}

impl std::error::Error for NoHome {}

impl Places {
    /// Those of who runs this program.
    pub(crate) fn of_user() -> Result<Places, NoHome> {
        Places::of(rustix::process::geteuid().is_root(), |name| std::env::var_os(name))
    }

    /// Those of the daemon that systemd or root starts for the whole host.
    pub(crate) fn of_host() -> Places {
        Places { state_dir: STATE_OF_HOST.into(), run_dir: SOCKETS_OF_HOST.into(), config_file: CONFIG_OF_HOST.into() }
    }

    fn of(root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Result<Places, NoHome> {
        if root {
            return Ok(Places::of_host());
        }
        // Of the XDG variables those that are no absolute path are to be passed over.
        let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = folder("HOME");
        let in_home = |inside: &str| home.as_deref().map(|home| home.join(inside)).ok_or(NoHome);
        let state = folder("XDG_STATE_HOME").map_or_else(|| in_home(".local/state"), Ok)?.join("qev");
        let config = folder("XDG_CONFIG_HOME").map_or_else(|| in_home(".config"), Ok)?.join("qev/config.toml");
        let run_dir = folder("XDG_RUNTIME_DIR").map_or_else(|| state.join("run"), |folder| folder.join("qev"));
        Ok(Places { state_dir: state, run_dir, config_file: config })
    }
}

/// The state that who only reads means: their own, if there is one, else that of the host's daemon, if there is one.
pub(crate) fn state_dir_to_read() -> Result<PathBuf, NoHome> {
    // A link to a folder that may not be entered is there, too.
    let is_there = |path: &str| std::fs::symlink_metadata(path).is_ok();
    choose(Places::of_user(), is_there(STATE_OF_HOST) || is_there(SOCKETS_OF_HOST))
}

/// A folder without a journal, such as one that was only made for a socket, is no state.
fn choose(own: Result<Places, NoHome>, has_host_daemon: bool) -> Result<PathBuf, NoHome> {
    match own {
        Ok(own) if !has_host_daemon || own.state_dir.join("journal").exists() => Ok(own.state_dir),
        Err(error) if !has_host_daemon => Err(error),
        _ => Ok(STATE_OF_HOST.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(root: bool, variables: &[(&str, &str)]) -> Result<[String; 3], NoHome> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        Places::of(root, variable)
            .map(|places| [text(places.state_dir), text(places.run_dir), text(places.config_file)])
    }

    fn check(root: bool, variables: &[(&str, &str)], expected: [&str; 3]) {
        assert_eq!(places(root, variables).unwrap(), expected, "{variables:?}");
    }

    #[test]
    fn root_has_the_places_of_the_host() {
        let host = ["/var/lib/qev", "/run/qev", "/etc/qev/config.toml"];
        check(true, &[], host);
        check(
            true,
            &[("HOME", "/home/ann"), ("XDG_STATE_HOME", "/home/ann/state"), ("XDG_RUNTIME_DIR", "/run/user/0")],
            host,
        );
    }

    #[test]
    fn a_user_has_those_of_the_desktop() {
        check(
            false,
            &[("HOME", "/home/a")],
            ["/home/a/.local/state/qev", "/home/a/.local/state/qev/run", "/home/a/.config/qev/config.toml"],
        );
        check(
            false,
            &[("HOME", "/home/a"), ("XDG_STATE_HOME", "/s"), ("XDG_RUNTIME_DIR", "/r"), ("XDG_CONFIG_HOME", "/c")],
            ["/s/qev", "/r/qev", "/c/qev/config.toml"],
        );
    }

    #[test]
    fn a_user_without_a_journal_reads_that_of_the_host() {
        let home = std::env::temp_dir().join(format!("qev-places-{}", std::process::id()));
        let own = Places { state_dir: home.clone(), run_dir: "/r".into(), config_file: "/c".into() };
        std::fs::create_dir_all(&home).unwrap();
        assert_eq!(choose(Ok(own.clone()), true), Ok(STATE_OF_HOST.into()));
        assert_eq!(choose(Ok(own.clone()), false), Ok(home.clone()));
        std::fs::create_dir(home.join("journal")).unwrap();
        assert_eq!(choose(Ok(own), true), Ok(home.clone()));
        std::fs::remove_dir_all(&home).unwrap();
        assert_eq!(choose(Err(NoHome), true), Ok(STATE_OF_HOST.into()));
        assert_eq!(choose(Err(NoHome), false), Err(NoHome));
    }

    #[test]
    fn what_is_no_absolute_path_is_passed_over() {
        check(
            false,
            &[("HOME", "/home/a"), ("XDG_STATE_HOME", "state"), ("XDG_RUNTIME_DIR", "")],
            ["/home/a/.local/state/qev", "/home/a/.local/state/qev/run", "/home/a/.config/qev/config.toml"],
        );
        assert_eq!(places(false, &[("HOME", "")]), Err(NoHome));
        assert_eq!(places(false, &[]), Err(NoHome));
    }

    #[test]
    fn no_home_is_needed_where_everything_else_is_named() {
        let variables = [("XDG_STATE_HOME", "/s"), ("XDG_RUNTIME_DIR", "/r"), ("XDG_CONFIG_HOME", "/c")];
        check(false, &variables, ["/s/qev", "/r/qev", "/c/qev/config.toml"]);
    }
}
