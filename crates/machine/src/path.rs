//! Paths in QEMU's tree of objects: from the root (`/objects/m1`), or the end of one (`m1`).

/// What a path leads to, for who looks for memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Link<'a> {
    /// Memory of this id.
    Memory(&'a str),
    /// Something else.
    OtherObject,
    /// Nothing.
    Nothing,
}

/// The names of a path; any number of `/` stand between two.
pub(crate) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// Follows a path. `has_device` and `has_memory` tell which ids there are.
pub(crate) fn link<'a>(
    path: &'a str,
    has_device: impl Fn(&str) -> bool,
    has_memory: impl Fn(&str) -> bool,
) -> Link<'a> {
    let parts: Vec<&str> = parts(path).collect();
    match (path.starts_with('/'), parts.as_slice()) {
        (true, ["objects", id]) | (false, ["objects", id] | [id]) if has_memory(id) => Link::Memory(id),
        (true, [] | ["objects" | "machine"] | ["machine", "peripheral" | "peripheral-anon"])
        | (false, ["objects" | "machine" | "peripheral" | "peripheral-anon"])
        | (false, ["machine", "peripheral" | "peripheral-anon"]) => Link::OtherObject,
        (true, ["machine", "peripheral", id]) | (false, ["machine", "peripheral", id] | ["peripheral", id] | [id])
            if has_device(id) =>
        {
            Link::OtherObject
        }
        _ => Link::Nothing,
    }
}

/// Whether a path, or the id of a device, leads to something that is not one.
pub(crate) fn is_no_device(path: &str) -> bool {
    let parts: Vec<&str> = parts(path).collect();
    let inner = matches!(parts.as_slice(), [] | ["machine"] | ["machine", "peripheral" | "peripheral-anon"]);
    inner && (path.is_empty() || path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_memory_to_something_else_or_nowhere() {
        for (path, expected) in [
            ("m1", Link::Memory("m1")),
            ("m1/", Link::Memory("m1")),
            ("objects/m1", Link::Memory("m1")),
            ("//objects//m1/", Link::Memory("m1")),
            ("/m1", Link::Nothing),
            ("nosuch/m1", Link::Nothing),
            ("m1/nosuch", Link::Nothing),
            ("//", Link::OtherObject),
            ("objects", Link::OtherObject),
            ("/machine/peripheral", Link::OtherObject),
            ("d1", Link::OtherObject),
            ("peripheral/d1", Link::OtherObject),
            ("/d1", Link::Nothing),
        ] {
            assert_eq!(link(path, |id| id == "d1", |id| id == "m1"), expected, "{path}");
        }
    }

    #[test]
    fn some_paths_lead_to_something_that_is_no_device() {
        for path in ["", "/", "//", "/machine", "//machine//peripheral/"] {
            assert!(is_no_device(path), "{path}");
        }
        for path in ["machine", "/nosuch", "d1"] {
            assert!(!is_no_device(path), "{path}");
        }
    }
}
