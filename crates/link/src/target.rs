//! What a person calls a monitor: a socket's path, `unix:PATH`, `@NAME` of an abstract socket, `tcp:HOST:PORT`, `fd:N`, or the
//! name of a machine.
//!
//! All but a path and a name may be copied from a QEMU's command line with the options behind them (`,server=on,wait=off`): those
//! say how QEMU listens, and mean nothing to who connects.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The options of QEMU's sockets that a client may pass over.
const LISTENER_OPTIONS: &[&str] = &[
    "delay",
    "id",
    "ipv4",
    "ipv6",
    "keep-alive",
    "mptcp",
    "nodelay",
    "nowait",
    "reconnect",
    "reconnect-ms",
    "server",
    "wait",
];

/// How long an abstract name may be, in bytes: `sun_path` without the NUL before it.
const LONGEST_ABSTRACT: usize = 107;

/// Where a monitor is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A Unix socket.
    Unix(PathBuf),
    /// A Unix socket with an abstract name, which is not a file: the name without the `@` before it.
    Abstract(String),
    /// A TCP port.
    Tcp {
        /// A name or an address; IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A descriptor that this program was started with: a socket that is connected to a monitor.
    Descriptor(u32),
    /// A machine's name: which socket is meant, the caller must know.
    Machine(String),
}

/// The text does not say where a monitor is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotATarget {
    /// There is nothing in it.
    Empty,
    /// `unix:` without a path.
    NoPath,
    /// `@` without a name behind it, or with one that is longer than the kernel takes.
    NoAbstractName(String),
    /// `tcp:` without a port between 1 and 65535 behind a colon.
    NoPort(String),
    /// `fd:` without a number.
    NoNumber(String),
    /// An option that changes where the socket is, or what is spoken over it.
    Option(String),
}

impl fmt::Display for NotATarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotATarget::Empty => {
                f.write_str("an empty target: expected unix:PATH, @NAME, tcp:HOST:PORT, fd:N, a path or a name")
            }
            NotATarget::NoPath => f.write_str("'unix:' without a path: expected unix:PATH"),
            NotATarget::NoAbstractName(text) => {
                write!(
                    f,
                    "'{}' has no abstract name of 1 to {LONGEST_ABSTRACT} bytes: expected @NAME",
                    text.escape_debug()
                )
            }
            NotATarget::NoPort(text) => {
                write!(f, "'{}' has no port from 1 to 65535: expected tcp:HOST:PORT", text.escape_debug())
            }
            NotATarget::NoNumber(text) => {
                write!(f, "'{}' has no number of a descriptor: expected fd:N", text.escape_debug())
            }
            NotATarget::Option(option) => {
                write!(f, "'{}' is no option of a socket that can be connected to", option.escape_debug())
            }
        }
    }
}

impl std::error::Error for NotATarget {}

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Target, NotATarget> {
        if let Some(rest) = text.strip_prefix("unix:") {
            let (path, is_abstract) = unix_address(rest)?;
            return match path.strip_prefix('@') {
                Some(name) => abstract_name(name, text),
                None if is_abstract => abstract_name(&path, text),
                None if path.is_empty() => Err(NotATarget::NoPath),
                None => Ok(Target::Unix(path.into())),
            };
        }
        if let Some(rest) = text.strip_prefix("tcp:") {
            return tcp(&address(rest)?).ok_or_else(|| NotATarget::NoPort(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("fd:") {
            let number = address(rest)?.parse().map(Target::Descriptor);
            return number.map_err(|_| NotATarget::NoNumber(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix('@') {
            return abstract_name(&address(rest)?, text);
        }
        match text {
            "" => Err(NotATarget::Empty),
            _ if text.contains('/') => Ok(Target::Unix(text.into())),
            _ => Ok(Target::Machine(text.to_owned())),
        }
    }
}

fn abstract_name(name: &str, text: &str) -> Result<Target, NotATarget> {
    match (1..=LONGEST_ABSTRACT).contains(&name.len()) {
        true => Ok(Target::Abstract(name.to_owned())),
        false => Err(NotATarget::NoAbstractName(text.to_owned())),
    }
}

/// The path or name of a Unix socket, and whether `abstract=on` says that it is a name. `tight=on`, which is QEMU's default,
/// says that the name ends where it ends.
fn unix_address(text: &str) -> Result<(String, bool), NotATarget> {
    let whole = text.replace(",,", "\0");
    let (of_name, others): (Vec<&str>, Vec<&str>) =
        whole.split(',').partition(|part| matches!(*part, "abstract=on" | "abstract=off" | "tight=on"));
    let address = address(&others.join(",").replace('\0', ",,"))?;
    Ok((address, of_name.contains(&"abstract=on")))
}

/// What stands before QEMU's options. Two commas are how QEMU writes one that belongs to a path.
fn address(text: &str) -> Result<String, NotATarget> {
    let whole = text.replace(",,", "\0");
    let mut parts = whole.split(',');
    let address = parts.next().unwrap_or_default().replace('\0', ",");
    for option in parts {
        let name = option.split_once('=').map_or(option, |(name, _)| name);
        if !LISTENER_OPTIONS.contains(&name) {
            return Err(NotATarget::Option(option.replace('\0', ",")));
        }
    }
    Ok(address)
}

fn tcp(address: &str) -> Option<Target> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host {
        // As QEMU has it: any of this host's addresses.
        "" => "localhost",
        _ => host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host),
    };
    Some(Target::Tcp { host: host.to_owned(), port })
}

impl From<&Path> for Target {
    fn from(path: &Path) -> Target {
        Target::Unix(path.to_owned())
    }
}

impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Target {
        Target::Unix(path)
    }
}

impl From<&OsStr> for Target {
    /// As the text, or the path if it is not UTF-8 or says nothing else.
    fn from(text: &OsStr) -> Target {
        text.to_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| Target::Unix(text.into()))
    }
}

/// As QEMU writes it; a path as it is.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => path.display().fmt(f),
            Target::Abstract(name) => write!(f, "@{name}"),
            Target::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Target::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            Target::Descriptor(number) => write!(f, "fd:{number}"),
            Target::Machine(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &str) -> Result<Target, NotATarget> {
        Ok(Target::Unix(path.into()))
    }

    fn tcp(host: &str, port: u16) -> Result<Target, NotATarget> {
        Ok(Target::Tcp { host: host.to_owned(), port })
    }

    #[test]
    fn targets_are_written_as_qemu_writes_them() {
        for (text, expected) in [
            ("unix:/run/x.sock", unix("/run/x.sock")),
            ("unix:x.sock", unix("x.sock")),
            ("unix:/run/x.sock,server=on,wait=off", unix("/run/x.sock")),
            ("unix:/run/a,,b,server,nowait", unix("/run/a,b")),
            ("/run/x.sock", unix("/run/x.sock")),
            ("./a,b", unix("./a,b")),
            ("tcp:127.0.0.1:4444", tcp("127.0.0.1", 4444)),
            ("tcp:[::1]:4444,server=on", tcp("::1", 4444)),
            ("tcp::4444", tcp("localhost", 4444)),
            ("fd:3", Ok(Target::Descriptor(3))),
            ("fd:0,server=off", Ok(Target::Descriptor(0))),
            ("@vm 1", Ok(Target::Abstract("vm 1".to_owned()))),
            ("unix:@vm1,server=on,wait=off", Ok(Target::Abstract("vm1".to_owned()))),
            ("unix:a,,b,abstract=on,tight=on,server=on", Ok(Target::Abstract("a,b".to_owned()))),
            ("unix:./@vm1", unix("./@vm1")),
            ("web1", Ok(Target::Machine("web1".to_owned()))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_none_of_these_is_said_in_words() {
        for (text, expected) in [
            ("", "an empty target: expected unix:PATH, @NAME, tcp:HOST:PORT, fd:N, a path or a name"),
            ("unix:", "'unix:' without a path: expected unix:PATH"),
            ("tcp:host", "'tcp:host' has no port from 1 to 65535: expected tcp:HOST:PORT"),
            ("tcp:host:0", "'tcp:host:0' has no port from 1 to 65535: expected tcp:HOST:PORT"),
            ("tcp:host:99999", "'tcp:host:99999' has no port from 1 to 65535: expected tcp:HOST:PORT"),
            ("fd:monitor", "'fd:monitor' has no number of a descriptor: expected fd:N"),
            ("fd:-1", "'fd:-1' has no number of a descriptor: expected fd:N"),
            ("unix:x,abstract=on,tight=off", "'tight=off' is no option of a socket that can be connected to"),
            ("tcp:h:1,abstract=on", "'abstract=on' is no option of a socket that can be connected to"),
            ("@", "'@' has no abstract name of 1 to 107 bytes: expected @NAME"),
        ] {
            assert_eq!(text.parse::<Target>().map_err(|error| error.to_string()), Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_target_is_shown_as_it_can_be_given() {
        for text in ["/run/x.sock", "@vm1", "tcp:[::1]:1", "tcp:host:2", "fd:3", "web1"] {
            assert_eq!(text.parse::<Target>().map(|target| target.to_string()), Ok(text.to_owned()));
        }
    }
}
