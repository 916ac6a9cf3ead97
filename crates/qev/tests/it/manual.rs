//! The manual and the completions: made from the same definitions as the help, and complete.

use crate::program::{Scratch, run, stderr, stdout};
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

#[test]
fn completions_know_every_verb_and_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&["completions", shell]));
        for verb in verbs() {
            assert!(script.contains(&verb), "{verb} for {shell}");
            for option in options(&verb) {
                // Fish has them without hyphens.
                let option = if shell == "fish" { format!("-l {}", option.trim_start_matches('-')) } else { option };
                assert!(script.contains(&option), "{option} of {verb} for {shell}");
            }
        }
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
