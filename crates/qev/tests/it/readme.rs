//! README.md keeps its word: what it links to is there, and the five events come first.

use std::path::{Path, PathBuf};

const EVENTS: [&str; 5] =
    ["ACPI_DEVICE_OST", "BALLOON_CHANGE", "GUEST_PANICKED", "QUORUM_FAILURE", "QUORUM_REPORT_BAD"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).expect("the page is there")
}

/// The targets of the page's links that lead to files of this project.
fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with('#')).collect()
}

#[test]
fn every_link_leads_to_a_file() {
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/scenario.md",
        "docs/http-api.md",
        "docs/configuration.md",
    ] {
        let folder = root().join(name).parent().expect("a folder").to_owned();
        for link in links(&page(name)) {
            let file = link.split('#').next().unwrap_or_default();
            assert!(folder.join(file).exists(), "{name} links to {link}");
        }
    }
}

#[test]
fn the_second_section_is_the_table_of_the_five() {
    let readme = page("README.md");
    let section = readme.split("\n## ").nth(2).expect("a second section");
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), EVENTS.len());
    for (row, event) in rows.iter().zip(EVENTS) {
        assert!(row.starts_with(&format!("| `{event}`")), "{row}");
        let file = event.to_lowercase();
        let links = links(row);
        // The code of the event, and the test that causes it for its reason.
        assert!(links.contains(&format!("crates/qmp/src/event/{file}.rs").as_str()), "{row}");
        assert!(links.contains(&format!("crates/machine/tests/it/{file}.rs").as_str()), "{row}");
    }
}

#[test]
fn the_two_commands_are_there() {
    let readme = page("README.md");
    for command in ["cargo run --release -- demo", "cargo xtask test"] {
        assert!(readme.contains(&format!("\n    {command}\n")), "{command}");
    }
    assert!(std::fs::read_to_string(root().join(".ci/run")).expect(".ci/run").contains("cargo xtask test"));
}
