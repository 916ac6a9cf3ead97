//! Which nodes are children of a quorum, from QEMU's graph of its block devices.
//!
//! No event names a child that was never bad. Of what QEMU can be asked, `query-block` does not name children, and
//! `query-named-block-nodes` does since QEMU 10.1; and both look at the images' files, so they hang where storage does.
//! `x-debug-query-block-graph` is from memory. It may change, as its name says: where it is not as expected there are no
//! children.
//!
//! ```text
//!   edges: {"name": "children.0", "parent": 4, "child": 6}, {"name": "file", …}    only quorum numbers its children
//!   nodes: {"id": 6, "type": "block-driver", "name": "c0"}, …                      as QUORUM_REPORT_BAD names it
//! ```

use qev_qmp::Json;
use std::collections::{BTreeMap, BTreeSet};

/// Since QEMU 4.0.
pub(crate) const COMMAND: &str = "x-debug-query-block-graph";

/// How long the answer may be, in bytes, that is looked at: three hundred nodes or so.
const LONGEST: usize = 64 << 10;

/// The node names of the children of all quorums, each once.
pub(crate) fn quorum_children(graph: &Json) -> BTreeSet<String> {
    let mut names = BTreeMap::new();
    let mut children = BTreeSet::new();
    if graph.as_text().len() > LONGEST {
        return children;
    }
    for_each(graph, "nodes", |node| {
        let id = node.get("id")?.value().as_u64()?;
        names.insert(id, node.get("name")?.string()?);
        Some(())
    });
    for_each(graph, "edges", |edge| {
        let name = edge.get("name")?.string()?;
        let number = name.strip_prefix("children.")?;
        let _: u32 = number.parse().ok()?;
        children.extend(names.get(&edge.get("child")?.value().as_u64()?).cloned());
        Some(())
    });
    children
}

/// Calls `each` with every element of a member; what it makes nothing of is passed over.
fn for_each(graph: &Json, member: &str, mut each: impl FnMut(&Json) -> Option<()>) {
    let Some(list) = graph.get(member) else { return };
    list.elements(|text| {
        let _ = Json::parse(text).ok().and_then(|element| each(&element));
    });
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What QEMU 7.2.22 says of `q0` over `c0`, `c1`, `c2`, each a `raw` node over a file, and of a quorum of a `-drive` over two
    /// nodes without a name.
    pub(crate) const OF_QEMU: &str = r##"{"edges": [
        {"name": "children.0", "parent": 2, "shared-perm": ["write-unchanged", "consistent-read"], "perm": ["write", "consistent-read"], "child": 12},
        {"name": "children.1", "parent": 2, "shared-perm": ["write-unchanged", "consistent-read"], "perm": ["write", "consistent-read"], "child": 11},
        {"name": "children.0", "parent": 4, "shared-perm": ["write-unchanged", "consistent-read"], "perm": ["write", "consistent-read"], "child": 6},
        {"name": "children.1", "parent": 4, "shared-perm": ["write-unchanged", "consistent-read"], "perm": ["write", "consistent-read"], "child": 8},
        {"name": "children.2", "parent": 4, "shared-perm": ["write-unchanged", "consistent-read"], "perm": ["write", "consistent-read"], "child": 10},
        {"name": "file", "parent": 10, "shared-perm": ["write-unchanged", "consistent-read"], "perm": ["write", "consistent-read"], "child": 9},
        {"name": "file", "parent": 8, "shared-perm": ["write-unchanged", "consistent-read"], "perm": ["write", "consistent-read"], "child": 7},
        {"name": "file", "parent": 6, "shared-perm": ["write-unchanged", "consistent-read"], "perm": ["write", "consistent-read"], "child": 5},
        {"name": "root", "parent": 3, "shared-perm": ["resize", "write-unchanged", "consistent-read"], "perm": ["write", "consistent-read"], "child": 4},
        {"name": "root", "parent": 1, "shared-perm": ["resize", "write-unchanged", "consistent-read"], "perm": ["write", "consistent-read"], "child": 2}],
      "nodes": [
        {"name": "#block570", "type": "block-driver", "id": 11}, {"name": "#block435", "type": "block-driver", "id": 12},
        {"name": "#block347", "type": "block-driver", "id": 2}, {"name": "q0", "type": "block-driver", "id": 4},
        {"name": "c2", "type": "block-driver", "id": 10}, {"name": "#block225", "type": "block-driver", "id": 9},
        {"name": "c1", "type": "block-driver", "id": 8}, {"name": "#block147", "type": "block-driver", "id": 7},
        {"name": "c0", "type": "block-driver", "id": 6}, {"name": "#block020", "type": "block-driver", "id": 5},
        {"name": "/machine/peripheral/vd0/virtio-backend", "type": "block-backend", "id": 3},
        {"name": "leg", "type": "block-backend", "id": 1}]}"##;

    fn check(graph: &str, expected: &[&str]) {
        let found = quorum_children(&Json::parse(graph).unwrap());
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{graph}");
    }

    #[test]
    fn children_are_known_by_the_names_that_events_have() {
        check(OF_QEMU, &["#block435", "#block570", "c0", "c1", "c2"]);
    }

    #[test]
    fn a_graph_without_a_quorum_and_one_that_is_not_as_expected_have_no_children() {
        let nodes = r#""nodes": [{"name": "a", "type": "block-driver", "id": 1}]"#;
        check(&format!(r#"{{"edges": [{{"name": "file", "parent": 2, "child": 1}}], {nodes}}}"#), &[]);
        check(
            &format!(
                r#"{{"edges": [{{"name": "children.x", "child": 1}}, {{"name": "children.0", "child": 2}}], {nodes}}}"#
            ),
            &[],
        );
        check(&format!(r#"{{"edges": {{"name": "children.0", "child": 1}}, {nodes}}}"#), &[]);
        check(r#"{"edges": [{"name": "children.0", "child": "1"}, {"name": 1}, 7], "nodes": [{"id": "1"}, []]}"#, &[]);
        for other in ["{}", "[]", "7"] {
            check(other, &[]);
        }
        let long = format!(
            r#"{{"edges": [{{"name": "children.0", "child": 1}}], {nodes}, "more": "{}"}}"#,
            "x".repeat(LONGEST)
        );
        check(&long, &[]);
    }
}
