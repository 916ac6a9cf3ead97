//! What a value may be: sizes, durations, modes, paths, patterns. Each says what it expects.

use super::{Allow, Group, User, group};
use crate::cli::duration;
use qev_link::Target;
use qev_machine::parse_size;
use qev_record::Glob;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a Unix socket's path may be, in bytes: `sun_path` without its end.
pub(crate) const LONGEST_SOCKET_PATH: usize = 107;

/// How long a machine's name may be, in bytes.
const LONGEST_NAME: usize = 255;

/// A number of bytes as people write them: `64 MiB`, `64M`, `1.5G`.
pub(super) fn size(text: &str, allowed: RangeInclusive<u64>) -> Result<u64, String> {
    let number = text.strip_suffix("iB").map_or(text, |number| number);
    let unit_at = number.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
    let (number, unit) = number.split_at(unit_at);
    let bytes = parse_size(&format!("{}{unit}", number.trim_end()), 1).map_err(|_| {
        format!("expected a size such as \"64 MiB\", \"64M\" or \"1.5G\", not '{}'", text.escape_debug())
    })?;
    if allowed.contains(&bytes) {
        return Ok(bytes);
    }
    let [least, most] = [*allowed.start(), *allowed.end()].map(qev_record::size::Size::from);
    Err(format!("expected a size from {least} to {most}, not '{}'", text.escape_debug()))
}

/// A time with its unit: `30d`, `12h`, `1d 12h`.
pub(super) fn age(text: &str, allowed: RangeInclusive<Duration>) -> Result<Duration, String> {
    let has_unit = text.chars().any(|c| c.is_ascii_alphabetic());
    let age = duration::parse(text).ok().filter(|_| has_unit).ok_or_else(|| {
        format!("expected a duration with its unit, such as \"30d\", \"12h\" or \"90m\", not '{}'", text.escape_debug())
    })?;
    if allowed.contains(&age) {
        return Ok(age);
    }
    let [least, most] = [*allowed.start(), *allowed.end()].map(age_text);
    Err(format!("expected a duration from {least} to {most}, not '{}'", text.escape_debug()))
}

/// A duration as [`age`] reads it.
pub(super) fn age_text(age: Duration) -> String {
    let seconds = age.as_secs();
    let parts = [("d", seconds / 86_400), ("h", seconds / 3600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let mut words: Vec<String> =
        parts.iter().filter(|(_, count)| *count > 0).map(|(unit, count)| format!("{count}{unit}")).collect();
    if age.subsec_millis() > 0 || words.is_empty() {
        words.push(format!("{}ms", age.subsec_millis()));
    }
    words.join(" ")
}

/// A file's mode: `"0660"`.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten().filter(|mode| *mode <= 0o777).ok_or_else(|| {
        format!(
            "expected the mode of the socket's file in octal, such as \"0660\" or \"0666\", not '{}'",
            text.escape_debug()
        )
    })
}

/// A path from the root. Where a daemon is started must not matter.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.contains('\0') {
        return Err("expected a path; none has a NUL in it".to_owned());
    }
    let path = Path::new(text);
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let hint = if text.starts_with('~') { ": '~' is not your home here, write it out" } else { "" };
    Err(format!("expected a path from the root such as \"/run/qev\", not '{}'{hint}", text.escape_debug()))
}

/// A path for a socket.
pub(super) fn socket(text: &str) -> Result<PathBuf, String> {
    let path = path(text)?;
    match text.len() {
        length if length > LONGEST_SOCKET_PATH => Err(format!(
            "expected a path of at most {LONGEST_SOCKET_PATH} bytes, for a socket cannot have a longer one; this has {length}"
        )),
        _ => Ok(path),
    }
}

/// A path with `*`, `?` and `[…]`.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    path(text)?;
    text.parse::<Glob>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A name by which the page is asked for, as it stands in an address.
pub(super) fn host(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if !text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(is_part) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("expected a name such as \"qev.example.org\" or \"host:8443\", not '{}'", text.escape_debug()))
}

/// Where a monitor is.
pub(super) fn monitor(text: &str) -> Result<Target, String> {
    match text.parse() {
        // A path that is longer than a socket's may be is connected to all the same.
        Ok(Target::Unix(at)) => Ok(Target::Unix(path(&at.to_string_lossy())?)),
        Ok(target @ (Target::Tcp { .. } | Target::Abstract(_))) => Ok(target),
        _ => Err(format!(
            "expected a monitor: a path from the root, unix:PATH, @NAME or tcp:HOST:PORT, not '{}'",
            text.escape_debug()
        )),
    }
}

/// A machine's name.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > LONGEST_NAME || text.chars().any(char::is_control) {
        return Err(format!(
            "expected a name of 1 to {LONGEST_NAME} bytes without control characters, not '{}'",
            text.escape_debug()
        ));
    }
    Ok(text.to_owned())
}

/// A URI of libvirt's.
pub(super) fn libvirt(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once(':').unwrap_or_default();
    let known = scheme.split('+').next().is_some_and(|driver| driver == "qemu" || driver == "test");
    if known && rest.starts_with('/') && !text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "expected a libvirt URI such as \"qemu:///system\" or \"qemu+ssh://host/system\", not '{}'",
        text.escape_debug()
    ))
}

/// A name with `*`, `?` and `[…]`.
pub(super) fn glob(text: &str) -> Result<String, String> {
    text.parse::<Glob>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// What a client of a shared monitor may do.
pub(super) fn allow(text: &str) -> Result<Allow, String> {
    let all = [Allow::Events, Allow::Read, Allow::Operate];
    all.into_iter()
        .find(|allow| allow.name() == text)
        .ok_or_else(|| format!("expected \"events\", \"read\" or \"operate\", not '{}'", text.escape_debug()))
}

/// A user that there is.
pub(super) fn existing_user(text: &str) -> Result<User, String> {
    group::find_user(text).ok_or_else(|| {
        format!("expected a user of this system, by name or number; there is no '{}'", text.escape_debug())
    })
}

/// A group that there is.
pub(super) fn existing_group(text: &str) -> Result<Group, String> {
    group::find(text).ok_or_else(|| {
        format!("expected a group of this system, by name or number; there is no '{}'", text.escape_debug())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_SIZE: RangeInclusive<u64> = 0..=u64::MAX;
    const ANY_AGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::MAX;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("64 MiB", 64 << 20),
            ("64MiB", 64 << 20),
            ("64M", 64 << 20),
            ("64 m", 64 << 20),
            ("1.5G", 3 << 29),
            ("512 B", 512),
            ("512", 512),
            ("10 GiB", 10 << 30),
        ] {
            assert_eq!(size(text, ANY_SIZE), Ok(expected), "{text}");
        }
        for text in ["", "MiB", "64 MB", "-1 MiB", "64 MiB or so", "64 XiB", "1 2 M", "iB"] {
            assert!(size(text, ANY_SIZE).is_err(), "{text}");
        }
        assert_eq!(size("1 KiB", 65_536..=1 << 30).unwrap_err(), "expected a size from 64 KiB to 1 GiB, not '1 KiB'");
    }

    #[test]
    fn ages_are_written_as_they_are_read() {
        for (text, seconds) in
            [("30d", 2_592_000), ("12h", 43_200), ("1d 12h", 129_600), ("90m", 5400), ("2w", 1_209_600)]
        {
            let read = age(text, ANY_AGE).unwrap();
            assert_eq!(read, Duration::from_secs(seconds), "{text}");
            assert_eq!(age(&age_text(read), ANY_AGE), Ok(read), "{text}");
        }
        assert_eq!(age_text(Duration::from_millis(1500)), "1s 500ms");
        for text in ["", "30", "soon", "-1d", "1 month"] {
            assert!(age(text, ANY_AGE).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        for (text, expected) in [("0660", 0o660), ("666", 0o666), ("0o600", 0o600), ("0", 0)] {
            assert_eq!(mode(text), Ok(expected), "{text}");
        }
        for text in ["", "0o", "0888", "rw-rw----", "1777", "07777", "+660"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_begin_at_the_root() {
        assert_eq!(path("/a"), Ok(PathBuf::from("/a")));
        assert!(path("run/qev").unwrap_err().contains("from the root"));
        assert!(path("~/qev").unwrap_err().ends_with("write it out"));
        assert!(path("/a\0b").is_err());
        assert!(socket(&format!("/{}", "a".repeat(106))).is_ok());
        assert!(socket(&format!("/{}", "a".repeat(107))).unwrap_err().ends_with("this has 108"));
        assert!(pattern("/run/vm/*.qmp").is_ok());
        assert!(pattern("/run/vm/[").is_err());
    }

    #[test]
    fn monitors_are_written_as_for_qemu() {
        for text in ["/run/vm/a.qmp", "unix:/run/vm/a.qmp", "@vm1", "tcp:localhost:4444"] {
            assert!(monitor(text).is_ok(), "{text}");
        }
        for text in ["", "web1", "unix:a.qmp", "tcp:nowhere", "run/a.qmp"] {
            assert!(monitor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn libvirt_is_named_by_uri() {
        for text in ["qemu:///system", "qemu:///session", "qemu+ssh://root@host/system", "test:///default"] {
            assert!(libvirt(text).is_ok(), "{text}");
        }
        for text in ["", "qemu", "system", "xen:///", "qemu:///a b", "qemu:\n", "--help"] {
            assert!(libvirt(text).is_err(), "{text}");
        }
    }
}
