//! Configurations, right and wrong.

use super::*;
use proptest::prelude::*;

fn places() -> Places {
    Places { state_dir: "/s".into(), run_dir: "/r".into(), config_file: "/nowhere/config.toml".into() }
}

fn read(text: &str) -> Result<Config, Vec<String>> {
    document::config(text, &places()).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn check_wrong(text: &str, expected: &[&str]) {
    assert_eq!(read(text).unwrap_err(), expected, "{text}");
}

const ALL: &str = r#"
state-dir = "/srv/qev"
run-dir = "/run/vm"
dial = ["/run/vm/*.qmp", "/srv/[ab].qmp"]
libvirt = ["qemu:///system"]

[[attach]]
path = "/run/vm/attach.sock"
mode = "0660"
group = "root"

[[attach]]
path = "/run/vm/second \"socket\".sock"

[[machine]]
name = "web1"
monitor = "/run/vm/web1.qmp"

[[machine]]
name = "dbé"
monitor = "tcp:localhost:4444"

[journal]
segment-size = "128 MiB"
segment-age = "12h"
keep-size = "1500 KiB"
keep-age = "30d"

[http]
listen = ["[::1]:8080", "localhost:0"]
hosts = ["qev.example.org"]
socket = false
"#;

#[test]
fn a_state_directory_has_every_socket_that_has_no_place_of_its_own() {
    let config = read("").unwrap().with_state_dir("/x".into());
    assert_eq!(config.attach, [Attach::at("/x/attach.sock".into())]);
    assert_eq!((config.state_dir, config.run_dir, config.share.dir), ("/x".into(), "/x".into(), "/x/share".into()));
    let config = read(ALL).unwrap();
    assert_eq!(config.clone().with_state_dir("/x".into()).attach, config.attach);
}

#[test]
fn nothing_said_means_the_defaults() {
    let config = read("").unwrap();
    assert_eq!(config, Config::defaults(&places()));
    assert_eq!(config.attach, [Attach::at("/r/attach.sock".into())]);
    assert_eq!(Options::from(&config.journal), Options::default());
}

#[test]
fn every_key_reaches_its_place() {
    let config = read(ALL).unwrap();
    assert_eq!((config.state_dir.to_str(), config.run_dir.to_str()), (Some("/srv/qev"), Some("/run/vm")));
    assert_eq!(config.dial, ["/run/vm/*.qmp", "/srv/[ab].qmp"]);
    assert_eq!(config.libvirt, ["qemu:///system"]);
    let group = Some(Group { name: "root".into(), gid: 0 });
    assert_eq!(config.attach[0], Attach { path: "/run/vm/attach.sock".into(), mode: 0o660, group });
    assert_eq!(config.attach[1], Attach::at("/run/vm/second \"socket\".sock".into()));
    let web1 = Machine { name: "web1".into(), monitor: Target::Unix("/run/vm/web1.qmp".into()) };
    assert_eq!((&config.machines[0], config.machines.len()), (&web1, 2));
    let options = Options::from(&config.journal);
    assert_eq!((options.segment_bytes, options.segment_age), (128 << 20, Duration::from_secs(43_200)));
    let listen = vec!["[::1]:8080".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
    let hosts = vec!["qev.example.org".to_owned()];
    assert_eq!(config.http, Http { listen, hosts, socket: false, is_default: false });
    assert_eq!((options.keep_bytes, options.keep_age), (Some(1500 << 10), Some(Duration::from_secs(2_592_000))));
}

#[test]
fn the_run_folder_moves_the_socket_in_it() {
    let config = read("run-dir = \"/elsewhere\"").unwrap();
    assert_eq!(config.attach, [Attach::at("/elsewhere/attach.sock".into())]);
    assert_eq!(read("attach = []").unwrap().attach, []);
}

#[test]
fn what_is_printed_says_the_same_when_it_is_read_again() {
    for text in ["", ALL, "attach = []", "[journal]\nsegment-size = \"65537 B\""] {
        let config = read(text).unwrap();
        assert_eq!(read(&config.to_string()).unwrap(), config, "{config}");
    }
}

#[test]
fn an_unknown_key_is_told_with_what_was_meant() {
    check_wrong("state-dri = \"/a\"", &["1:1: state-dri: there is no such key: did you mean state-dir?"]);
    check_wrong(
        "\n[journal]\nkeep_age = \"1d\"",
        &["3:1: journal.keep_age: there is no such key: did you mean keep-age?"],
    );
    check_wrong(
        "[[attach]]\npath = \"/a\"\nowner = 1",
        &["3:1: attach.owner: there is no such key: known are path, mode, group"],
    );
    check_wrong("[machines]", &["1:2: machines: there is no such key: did you mean machine?"]);
}

#[test]
fn all_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    check_wrong(
        "state-dir = 3\ndial = [\"/a\", 4, \"b\"]\n[[attach]]\nmode = \"rw\"\n[[attach]]\npath = \"/a\"\n[journal]\nkeep-age = \"30\"\nkeep-size = \"1 B\"\n",
        &[
            "1:13: state-dir: expected a string in quotes, not the number 3",
            "2:15: dial: expected a string in quotes, not the number 4",
            "2:18: dial: expected a path from the root such as \"/run/qev\", not 'b'",
            "3:1: attach.path: it is missing, and has no default",
            "4:8: attach.mode: expected the mode of the socket's file in octal, such as \"0660\" or \"0666\", not 'rw'",
            "8:12: journal.keep-age: expected a duration with its unit, such as \"30d\", \"12h\" or \"90m\", not '30'",
            "9:13: journal.keep-size: expected a size from 64 KiB to 1 EiB, not '1 B'",
        ],
    );
}

#[test]
fn what_must_differ_is_told_when_it_does_not() {
    let machine = |name: &str, monitor: &str| format!("[[machine]]\nname = \"{name}\"\nmonitor = \"{monitor}\"\n");
    check_wrong(&(machine("a", "/a") + &machine("a", "/b")), &["5:8: machine.name: another one has it already"]);
    check_wrong(
        &(machine("a", "/a") + &machine("b", "unix:/a")),
        &["6:11: machine.monitor: another one has it already"],
    );
    check_wrong(
        "[[attach]]\npath = \"/a\"\n[[attach]]\npath = \"/a\"\n",
        &["4:8: attach.path: another one has it already"],
    );
    check_wrong("libvirt = [\"qemu:///system\", \"qemu:///system\"]", &["1:30: libvirt: it is there already"]);
}

#[test]
fn a_value_of_the_wrong_kind_is_told_what_was_expected() {
    check_wrong(
        "attach = \"/a\"",
        &["1:10: attach: expected tables, each under a line [[attach]], not the string '/a'"],
    );
    check_wrong("attach = [\"/a\"]", &["1:11: attach: expected a line [[attach]], not the string '/a'"]);
    let zero = "3:8: unexpected leading zero, expected nothing; a mode is a string: \"0666\"";
    check_wrong("[[attach]]\npath = \"/a\"\nmode = 0666\n", &[zero]);
    check_wrong("journal = 1", &["1:11: journal: expected a table under a line [journal], not the number 1"]);
    check_wrong("dial = \"/a\"", &["1:8: dial: expected a list of strings such as [\"…\"], not the string '/a'"]);
    check_wrong(
        "http = \"[::1]:8080\"",
        &["1:8: http: expected a table under a line [http], not the string '[::1]:8080'"],
    );
    check_wrong(
        "[http]\nlisten = [\"7780\"]\nhosts = [\"http://a\"]\nsocket = 1",
        &[
            "2:11: http.listen: expected an address and a port such as 127.0.0.1:7780 or [::1]:7780, not '7780'",
            "3:10: http.hosts: expected a name such as \"qev.example.org\" or \"host:8443\", not 'http://a'",
            "4:10: http.socket: expected true or false, not the number 1",
        ],
    );
    check_wrong(
        "[[attach]]\npath = \"/a\"\ngroup = \"no such group\"",
        &["3:9: attach.group: expected a group of this system, by name or number; there is no 'no such group'"],
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    let problems = read("state-dir = \"/a\"\nrun-dir = \n").unwrap_err();
    assert!(problems[0].starts_with("2:"), "{problems:?}");
    let problems = read("state-dir = \"/a\"\nstate-dir = \"/b\"\n").unwrap_err();
    assert!(problems[0].starts_with("2:1: duplicate key"), "{problems:?}");
}

#[test]
fn a_named_file_must_be_there() {
    let error = Config::load(Some(Path::new("/nowhere/qev.toml"))).unwrap_err();
    assert_eq!(error.to_string(), "the configuration /nowhere/qev.toml cannot be read");
}

#[test]
fn the_example_that_is_installed_says_the_defaults() {
    let example = include_str!("../../../../contrib/config.toml");
    let defaults = Config::defaults(&Places::of_host());
    assert_eq!(document::config(example, &Places::of_host()).unwrap(), defaults);
    // With every example line in force it still has no mistake but groups that this host may lack.
    let in_force: String = example
        .lines()
        .map(|line| line.strip_prefix("#").filter(|line| !line.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    let config = document::config(&in_force, &Places::of_host());
    let config = config.unwrap_or_else(|problems| panic!("{problems:#?}\n{in_force}"));
    assert!(config.machines.len() == 1 && config.journal.keep_age.is_some() && !config.dial.is_empty(), "{in_force}");
}

/// Every key that there is stands in the table, and nothing else does.
#[test]
fn the_page_names_the_keys_that_there_are() {
    let page = include_str!("../../../../docs/configuration.md");
    let named: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|key| key.trim_matches(['[', ']']))
        .collect();
    let known = "state-dir run-dir dial libvirt attach attach.path attach.mode attach.group machine machine.name \
                 machine.monitor journal journal.segment-size journal.segment-age journal.keep-size journal.keep-age http http.listen http.hosts \
                 http.socket share share.enabled share.mode share.group share.audit share.policy share.policy.machine \
                 share.policy.user share.policy.group share.policy.allow share.policy.commands";
    assert_eq!(named, known.split_whitespace().collect::<Vec<_>>());
    for key in named {
        let (table, last) = key.rsplit_once('.').unwrap_or(("", key));
        let text = match table {
            "" => format!("{last} = 1"),
            "journal" | "http" | "share" => format!("[{table}]\n{last} = 1"),
            _ => format!("[[{table}]]\n{last} = 1"),
        };
        let problems = read(&text).unwrap_err();
        assert!(problems.iter().all(|problem| !problem.contains("no such key")), "{problems:?}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "[\\[\\]a-z\"'=.\n \\\\{},0-9-]{0,60}") {
        let _ = read(&text);
    }

    #[test]
    fn no_value_panics(key in prop::sample::select(vec!["state-dir", "dial", "attach", "machine", "journal", "libvirt", "http"]), value in any::<String>()) {
        let _ = read(&format!("{key} = {value}"));
        let _ = read(&format!("{key} = {value:?}"));
    }

    #[test]
    fn any_path_is_printed_so_that_it_reads_the_same(path in "/\\PC{0,40}") {
        let config = Config { state_dir: path.into(), ..Config::defaults(&places()) };
        prop_assert_eq!(read(&config.to_string()).unwrap(), config);
    }
}
