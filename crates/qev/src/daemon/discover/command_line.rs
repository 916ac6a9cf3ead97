//! A QEMU's command line: its name, its UUID, and its monitors.
//!
//! ```text
//!   -qmp unix:P,server=on,wait=off                     a monitor for programs that listens
//!   -chardev socket,id=c,path=P,reconnect=1 -mon chardev=c,mode=control      … that dials
//!   -monitor unix:P,server=on,wait=off                 one for people (HMP)
//! ```
//!
//! Only what is said there is known: a file given with -readconfig may say more.

use qev_link::Target;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a command line tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `-name`.
    pub(crate) name: Option<String>,
    /// `-uuid`.
    pub(crate) uuid: Option<String>,
    /// The monitors, for programs and for people, in their order.
    pub(crate) monitors: Vec<Monitor>,
}

/// A monitor that a QEMU was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Monitor {
    /// Whether it speaks QMP; the other kind is for people.
    pub(crate) is_qmp: bool,
    /// Where it is.
    pub(crate) at: At,
}

/// Where a monitor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// It listens at this path.
    Listens(PathBuf),
    /// It listens, and not at a path: a TCP port, or an abstract name.
    Address(Target),
    /// It connects to this path.
    Dials(PathBuf),
    /// It is a descriptor that QEMU was given: somebody has the other end.
    Inherited,
    /// It is something else: a terminal, a pipe, a connection over TCP that QEMU makes.
    Other(String),
}

impl CommandLine {
    /// Reads the arguments, the program's name first.
    pub(crate) fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> CommandLine {
        let mut found = CommandLine::default();
        let mut chardevs = BTreeMap::new();
        let mut monitors = Vec::new();
        let mut arguments = arguments.into_iter().skip(1);
        while let Some(option) = arguments.next() {
            let Some(option) = option.strip_prefix("--").or_else(|| option.strip_prefix('-')) else { continue };
            if !matches!(option, "name" | "uuid" | "chardev" | "mon" | "qmp" | "qmp-pretty" | "monitor") {
                continue;
            }
            let Some(value) = arguments.next() else { break };
            match option {
                "uuid" => found.uuid = Some(value.to_owned()),
                "name" => found.name = Members::of(value, "guest").take("guest"),
                "chardev" => {
                    let mut members = Members::of(value, "backend");
                    if let Some(id) = members.take("id") {
                        chardevs.insert(id, members.at());
                    }
                }
                "mon" => {
                    let mut members = Members::of(value, "chardev");
                    let is_qmp = members.take("mode").is_some_and(|mode| mode == "control");
                    monitors.extend(members.take("chardev").map(|id| (is_qmp, Err(id))));
                }
                _ => {
                    let is_qmp = option != "monitor";
                    match value.strip_prefix("chardev:") {
                        Some(id) => monitors.push((is_qmp, Err(id.to_owned()))),
                        None if value == "none" => {}
                        None => monitors.push((is_qmp, Ok(short(value)))),
                    }
                }
            }
        }
        // A monitor may be named before its chardev.
        let at = |at: Result<At, String>| at.or_else(|id| chardevs.get(&id).cloned().ok_or(At::Other(id)));
        let all = monitors.into_iter().map(|(is_qmp, found)| Monitor { is_qmp, at: at(found).unwrap_or_else(|at| at) });
        found.monitors.extend(all);
        found
    }

    /// The same with paths that do not depend on the folder in which the QEMU runs.
    pub(crate) fn in_folder(mut self, folder: &Path) -> CommandLine {
        for monitor in &mut self.monitors {
            if let At::Listens(path) | At::Dials(path) = &mut monitor.at {
                *path = folder.join(&*path);
            }
        }
        self
    }
}

/// `unix:P,server=on,wait=off` and what else -qmp and -monitor take.
fn short(value: &str) -> At {
    match value.split_once(':') {
        Some(("unix", rest)) => Members::of(rest, "path").at(),
        Some(("tcp", rest)) => {
            let mut members = Members::of(rest, "address");
            let target = members.take("address").and_then(|address| format!("tcp:{address}").parse().ok());
            match target.filter(|_| members.is_server() && members.is_plain()) {
                Some(target) => At::Address(on_this_host(target)),
                None => At::Other(value.to_owned()),
            }
        }
        _ => At::Other(value.to_owned()),
    }
}

/// A port at all addresses is one at that of this host.
fn on_this_host(target: Target) -> Target {
    match target {
        Target::Tcp { host, port } if matches!(host.as_str(), "0.0.0.0" | "::" | "localhost") => {
            Target::Tcp { host: if host == "::" { "::1" } else { "127.0.0.1" }.to_owned(), port }
        }
        target => target,
    }
}

/// `a=b,c=d`: a comma in a value is written twice, and the first may lack its name.
struct Members(BTreeMap<String, String>);

impl Members {
    fn of(text: &str, first: &str) -> Members {
        let mut members = BTreeMap::new();
        let mut rest = text;
        while !rest.is_empty() {
            let mut member = String::new();
            loop {
                let end = rest.find(',').unwrap_or(rest.len());
                member.push_str(rest.get(..end).unwrap_or_default());
                rest = rest.get(end + 1..).unwrap_or_default();
                match rest.strip_prefix(',') {
                    Some(more) => {
                        member.push(',');
                        rest = more;
                    }
                    None => break,
                }
            }
            let (name, value) = match member.split_once('=') {
                Some((name, value)) => (name, value),
                None if members.is_empty() => (first, member.as_str()),
                // The old way: `server`, `nowait`.
                None => (member.as_str(), "on"),
            };
            members.insert(name.to_owned(), value.to_owned());
        }
        Members(members)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn is_on(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| matches!(value.as_str(), "on" | "yes" | "true"))
    }

    fn is_server(&self) -> bool {
        self.is_on("server")
    }

    /// Whether QMP is spoken over it as it is: no telnet, no web socket, no TLS.
    fn is_plain(&self) -> bool {
        !["telnet", "tn3270", "websocket"].iter().any(|name| self.is_on(name)) && !self.0.contains_key("tls-creds")
    }

    fn at(mut self) -> At {
        let listens = self.is_server();
        let port = self.take("port").filter(|_| listens && self.is_plain());
        if let Some(port) = port {
            let host = self.take("host").unwrap_or_default();
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            if let Ok(target) = format!("tcp:{host}:{port}").parse() {
                return At::Address(on_this_host(target));
            }
        }
        let is_abstract = self.is_on("abstract");
        // One that is not tight ends with NULs, which nobody can write down.
        let is_tight = self.0.get("tight").is_none_or(|_| self.is_on("tight"));
        match (self.take("path"), self.take("fd")) {
            (Some(name), _) if is_abstract && listens && is_tight => At::Address(Target::Abstract(name)),
            (Some(name), _) if is_abstract => At::Other(format!("@{name}")),
            (Some(path), _) if listens => At::Listens(path.into()),
            (Some(path), _) => At::Dials(path.into()),
            (None, Some(_)) => At::Inherited,
            (None, None) => At::Other(self.take("backend").unwrap_or_else(|| "unknown".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, name: Option<&str>, monitors: &[(bool, At)]) {
        let found = CommandLine::parse(line.split(' '));
        let expected = CommandLine {
            name: name.map(str::to_owned),
            uuid: None,
            monitors: monitors.iter().map(|(is_qmp, at)| Monitor { is_qmp: *is_qmp, at: at.clone() }).collect(),
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn monitors_are_found_however_they_are_given() {
        let (listens, dials) = (|path: &str| At::Listens(path.into()), |path: &str| At::Dials(path.into()));
        let at = |target: &str| At::Address(target.parse().unwrap());
        check("q -qmp unix:/p,server=on,wait=off", None, &[(true, listens("/p"))]);
        check("q -qmp unix:/p,server,nowait", None, &[(true, listens("/p"))]);
        check("q --qmp-pretty unix:/a,,b,server=on", None, &[(true, listens("/a,b"))]);
        check(
            "q -monitor unix:/p,server=on -qmp tcp:h:1,server=on",
            None,
            &[(false, listens("/p")), (true, at("tcp:h:1"))],
        );
        check("q -qmp tcp::4444,server,nowait", None, &[(true, at("tcp:127.0.0.1:4444"))]);
        check("q -qmp tcp:[::]:4444,server=on", None, &[(true, at("tcp:[::1]:4444"))]);
        check("q -qmp tcp:h:1", None, &[(true, At::Other("tcp:h:1".into()))]);
        let chardev = "q -mon c,mode=control -chardev socket,id=c";
        check(&format!("{chardev},host=0.0.0.0,port=1,server=on"), None, &[(true, at("tcp:127.0.0.1:1"))]);
        check(&format!("{chardev},host=h,port=1,server=on,telnet=on"), None, &[(true, At::Other("socket".into()))]);
        check(&format!("{chardev},path=vm,server=on,abstract=on"), None, &[(true, at("@vm"))]);
        check(&format!("{chardev},path=vm,server=on,abstract=on,tight=off"), None, &[(true, At::Other("@vm".into()))]);
        check("q -qmp unix:vm,abstract=on,server=on,wait=off", None, &[(true, at("@vm"))]);
        check("q -monitor none -monitor stdio", None, &[(false, At::Other("stdio".into()))]);
        check("q -chardev socket,id=c,path=/p,reconnect=1 -mon chardev=c,mode=control", None, &[(true, dials("/p"))]);
        check("q -mon c,mode=control -chardev socket,id=c,path=/p,server=on", None, &[(true, listens("/p"))]);
        check(
            "q -chardev socket,id=charmonitor,fd=22,server=on -mon chardev=charmonitor,id=monitor,mode=control",
            None,
            &[(true, At::Inherited)],
        );
        check("q -chardev stdio,id=m -mon m", None, &[(false, At::Other("stdio".into()))]);
        check("q -qmp chardev:nowhere", None, &[(true, At::Other("nowhere".into()))]);
    }

    #[test]
    fn a_name_may_come_with_more() {
        check("q -name web1", Some("web1"), &[]);
        check("q -name guest=web1,debug-threads=on", Some("web1"), &[]);
        check("q -name web1,process=kvm -uuid", Some("web1"), &[]);
        assert_eq!(CommandLine::parse(["q", "-uuid", "u"]).uuid.as_deref(), Some("u"));
        for text in ["", "q", "q -name", "q -chardev ,,, -mon ,", "q -name ,,=,", "-"] {
            CommandLine::parse(text.split(' '));
        }
    }

    #[test]
    fn a_relative_path_is_relative_to_where_the_qemu_runs() {
        let line = CommandLine::parse("q -qmp unix:vm.sock,server=on -monitor unix:/m,server=on".split(' '));
        let ats: Vec<At> = line.in_folder(Path::new("/srv")).monitors.into_iter().map(|monitor| monitor.at).collect();
        assert_eq!(ats, [At::Listens("/srv/vm.sock".into()), At::Listens("/m".into())]);
    }
}
