//! The manual and the completions: made from the same definitions as the help, and complete.

use crate::program::{Scratch, qev, run, stderr, stdout};
use qev_journal::{Journal, Options};
use qev_qmp::Timestamp;
use qev_record::Record;
use std::process::{Command, Stdio};

/// The verbs that `qev --help` lists.
fn verbs() -> Vec<String> {
    let help = stdout(&run(&["--help"]));
    let list = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let verbs = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs: Vec<String> = verbs.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(verbs.len() >= 9 && verbs.contains(&"watch".to_owned()), "{help}");
    verbs.into_iter().filter(|verb| verb != "help").collect()
}

/// The long options that the help of a verb lists.
fn options(verb: &str) -> Vec<String> {
    let help = stdout(&run(&[verb, "--help"]));
    let lines =
        help.split("Options:").nth(1).unwrap().lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let options = lines.filter_map(|line| line.split([' ', ',', '=', '[']).find(|word| word.starts_with("--")));
    options.map(str::to_owned).collect()
}

/// All pages, by file name without its ending.
fn pages() -> Vec<(String, String)> {
    let scratch = Scratch::new();
    let dir = scratch.path("");
    let output = run(&["man", "--dir", &dir]);
    assert!(output.status.success(), "{}", stderr(&output));
    let files = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path());
    files
        .map(|file| (file.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&file).unwrap()))
        .collect()
}

#[test]
fn there_is_a_page_for_each_verb_with_all_of_its_options() {
    let pages = pages();
    let page = |name: &str| &pages.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}")).1;
    let verbs = verbs();
    assert_eq!(pages.len(), verbs.len() + 1);
    let qev = page("qev");
    for verb in &verbs {
        let page = page(&format!("qev-{verb}"));
        assert!(page.contains(".SH \"EXIT STATUS\"") && page.contains(".SH FILES"), "{page}");
        assert!(qev.contains(&format!("qev\\-{}(1)", verb.replace('-', "\\-"))), "{verb} in {qev}");
        for option in options(verb) {
            let option = option.replace('-', "\\-");
            assert!(page.contains(&option), "{option} in the page of {verb}");
        }
    }
    // What a code means stands in one place, so the two agree.
    let help = stdout(&run(&["--help"]));
    let codes: Vec<&str> = help.split("Exit codes:\n").nth(1).unwrap().lines().collect();
    assert_eq!(codes.len(), 14);
    for line in codes {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        assert!(qev.contains(&format!(".TP\n{code}\n{}\n", meaning.replace('-', "\\-"))), "{line}");
    }
    let printed = stdout(&run(&["man", "wait"]));
    assert_eq!(&printed, page("qev-wait"));
    assert_eq!(run(&["man", "nonsense"]).status.code(), Some(2));
}

/// What bash offers behind these words, the last of which is being typed.
fn offered(words: &[&str]) -> Vec<String> {
    let script = stdout(&run(&["completions", "bash"]));
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_qev")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let ask = format!(
        "{script}\nCOMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9\n_clap_complete_qev qev \"${{@: -1}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &ask, "bash"]).args(words).env("PATH", path);
    let output = bash.output().expect("bash is here");
    assert!(output.status.success(), "{words:?}: {}", stderr(&output));
    stdout(&output).lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn bash_completes_every_verb_and_option() {
    let verbs = verbs();
    let shown = offered(&["qev", ""]);
    assert!(verbs.iter().all(|verb| shown.contains(verb)), "{shown:?}");
    for verb in ["log", "run", "machines"] {
        let shown = offered(&["qev", verb, "--"]);
        for option in options(verb).iter().filter(|option| *option != "--help") {
            assert!(shown.contains(option), "{option} of {verb}: {shown:?}");
        }
    }
}

#[test]
fn bash_completes_events_severities_and_machines() {
    assert_eq!(offered(&["qev", "log", "-e", "guest_pan"]), ["GUEST_PANICKED"]);
    assert_eq!(offered(&["qev", "wait", "vm.sock", "BALLOON"]), ["BALLOON_CHANGE"]);
    assert_eq!(offered(&["qev", "log", "--severity", "w"]), ["warning"]);
    // Two machines in the journal of a user whose daemon does not run.
    let scratch = Scratch::new();
    let state = scratch.path("");
    let mut journal = Journal::open(scratch.path("journal").as_ref(), Options::default()).unwrap();
    let attached = |name: &str| Record::attached("h1", name, Timestamp::from_micros(0));
    journal.append(&mut [attached("web1"), attached("web2"), attached("db1"), attached("x; rm")]).unwrap();
    drop(journal);
    let machines = |current: &str| offered(&["qev", "log", "--state-dir", &state, "-m", current]);
    assert_eq!(machines("web"), ["web1", "web2"]);
    assert_eq!(machines(""), ["db1", "web1", "web2"]);
}

#[test]
fn each_shell_has_a_script_that_asks_the_program() {
    for (shell, expected) in [
        ("bash", "complete -o nospace -o bashdefault -o nosort -F _clap_complete_qev qev"),
        ("zsh", "#compdef qev"),
        ("fish", "complete --keep-order --exclusive --command qev --arguments \"(QEV_COMPLETE=fish qev -- "),
    ] {
        let script = stdout(&run(&["completions", shell]));
        assert!(script.contains(expected) && script.contains("QEV_COMPLETE="), "{script}");
        // What the script of zsh and fish asks is answered.
        let mut command = qev(&["--", "qev", "log", "--severity", "err"]);
        command.env("QEV_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", "3").env("_CLAP_IFS", "\n");
        assert!(stdout(&command.output().unwrap()).starts_with("error"), "{shell}");
    }
    assert_eq!(run(&["completions", "csh"]).status.code(), Some(2));
}

/// Runs a program on a text, which must not complain.
fn takes(program: &str, arguments: &[&str], text: &str) {
    let mut command = Command::new(program);
    let started = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = started.spawn().unwrap_or_else(|error| panic!("{program} is not here ({error}): cargo xtask test"));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{program}: {}", stderr(&output));
}

#[test]
#[ignore = "needs groff and bash: run by cargo xtask test"]
fn groff_and_bash_have_nothing_to_complain_of() {
    for (name, page) in pages() {
        assert!(page.starts_with(".ie"), "{name}");
        takes("groff", &["-man", "-ww", "-Tutf8", "-z"], &page);
    }
    takes("bash", &["-n"], &stdout(&run(&["completions", "bash"])));
}
