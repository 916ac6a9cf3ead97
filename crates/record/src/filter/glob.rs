//! Patterns as the shell has them: `*`, `?`, `[a-z]`, `[!a-z]`, and `\` before a character that shall be itself.

use crate::plain;
use std::fmt;
use std::str::FromStr;

/// A pattern for a whole name.
///
/// Matching takes at most as many steps as the pattern is long times the name is long, whatever stars there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pattern: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// `*`: any characters, or none.
    Star,
    /// `?`: any one character.
    One,
    /// This character.
    Itself(char),
    /// `[…]`: one of these ranges, or with `!` none of them.
    Set { ranges: Box<[(char, char)]>, negated: bool },
}

/// The text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobError {
    pattern: Box<str>,
    problem: &'static str,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a pattern: {}", plain::name(&self.pattern), self.problem)
    }
}

impl std::error::Error for GlobError {}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(pattern: &str) -> Result<Glob, GlobError> {
        match parts(pattern) {
            Ok(parts) => Ok(Glob { pattern: pattern.into(), parts: parts.into() }),
            Err(problem) => Err(GlobError { pattern: pattern.into(), problem }),
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl Glob {
    /// A pattern for this name and no other; none when no pattern can be made of it.
    pub fn exactly(name: &str) -> Option<Glob> {
        let mut pattern = String::with_capacity(name.len());
        for c in name.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.parse().ok()
    }

    /// Whether the pattern matches the whole of a name.
    pub fn matches(&self, name: &str) -> bool {
        self.walk(name, Part::takes)
    }

    /// The same, where upper and lower case of ASCII letters are one.
    pub fn matches_ignoring_case(&self, name: &str) -> bool {
        self.walk(name, |part, c| part.takes(c.to_ascii_lowercase()) || part.takes(c.to_ascii_uppercase()))
    }

    /// The one name that the pattern matches, if it has no `*`, `?` or `[…]`.
    pub fn literal(&self) -> Option<String> {
        self.parts.iter().map(|part| if let Part::Itself(c) = part { Some(*c) } else { None }).collect()
    }

    /// Walks over name and pattern. At a mismatch the last star takes one character more: earlier stars need not be
    /// tried again, because what they could take the last one can take too.
    fn walk(&self, name: &str, takes: impl Fn(&Part, char) -> bool) -> bool {
        let mut rest = name.chars();
        let mut at = 0;
        let mut last_star = None;
        loop {
            let before = rest.clone();
            let next = rest.next();
            match (self.parts.get(at), next) {
                (Some(Part::Star), _) => {
                    at += 1;
                    rest = before;
                    last_star = Some((at, rest.clone()));
                }
                (None, None) => return true,
                (Some(part), Some(c)) if takes(part, c) => at += 1,
                _ => {
                    let Some((behind_star, mut longer)) = last_star.take() else { return false };
                    if longer.next().is_none() {
                        return false;
                    }
                    at = behind_star;
                    rest = longer.clone();
                    last_star = Some((behind_star, longer));
                }
            }
        }
    }
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Part::Star | Part::One => true,
            Part::Itself(itself) => *itself == c,
            Part::Set { ranges, negated } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
        }
    }
}

fn parts(pattern: &str) -> Result<Vec<Part>, &'static str> {
    if pattern.is_empty() {
        return Err("it is empty; '*' matches everything");
    }
    let mut parts = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' if parts.last() == Some(&Part::Star) => {}
            '*' => parts.push(Part::Star),
            '?' => parts.push(Part::One),
            '[' => parts.push(set(&mut chars)?),
            '\\' => parts.push(Part::Itself(chars.next().ok_or("nothing stands behind the last '\\'")?)),
            c => parts.push(Part::Itself(c)),
        }
    }
    Ok(parts)
}

/// What stands behind `[`. A `]` at the beginning is itself, and so is a `-` at the beginning or end.
fn set(chars: &mut std::str::Chars<'_>) -> Result<Part, &'static str> {
    const OPEN: &str = "a '[' has no ']'";
    let negated = matches!(chars.clone().next(), Some('!' | '^'));
    if negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        let first = match chars.next().ok_or(OPEN)? {
            ']' if !ranges.is_empty() => return Ok(Part::Set { ranges: ranges.into(), negated }),
            '\\' => chars.next().ok_or(OPEN)?,
            c => c,
        };
        let mut ahead = chars.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if last != ']' => {
                *chars = ahead;
                if last == '\\' { chars.next().ok_or(OPEN)? } else { last }
            }
            _ => first,
        };
        if last < first {
            return Err("a range in '[…]' runs backwards");
        }
        ranges.push((first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let glob: Glob = pattern.parse().unwrap();
        for name in matching {
            assert!(glob.matches(name), "{pattern} {name}");
        }
        for name in others {
            assert!(!glob.matches(name), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_as_in_the_shell() {
        check("STOP", &["STOP"], &["STOPS", "STO", "stop", ""]);
        check("BLOCK_*", &["BLOCK_", "BLOCK_JOB_READY"], &["BLOCK", "XBLOCK_"]);
        check("*_JOB_*", &["BLOCK_JOB_READY", "_JOB_"], &["JOB_STATUS_CHANGE"]);
        check("*", &["", "x"], &[]);
        check("web?", &["web1", "webä"], &["web", "web12"]);
        check("*a*b*c", &["abc", "xaxbxc", "abcabc"], &["abcx", "ab", "acb"]);
        check("web[0-9a]", &["web1", "weba"], &["webb", "web-"]);
        check("web[!0-9]", &["webx"], &["web1", "web"]);
        check("[^a]", &["b"], &["a"]);
        check("[]-]", &["]", "-"], &["x"]);
        check("[a-]", &["a", "-"], &["b"]);
        check(r"\*[\]]\\", &[r"*]\"], &["x"]);
    }

    #[test]
    fn case_matters_only_where_it_should() {
        let glob: Glob = "guest_[P-Q]*".parse().unwrap();
        assert!(glob.matches_ignoring_case("GUEST_PANICKED"));
        assert!(!glob.matches("GUEST_PANICKED"));
        assert!(!glob.matches_ignoring_case("GUEST_CRASHLOADED"));
    }

    #[test]
    fn a_pattern_without_wildcards_is_one_name() {
        let literal = |pattern: &str| pattern.parse::<Glob>().unwrap().literal();
        assert_eq!(literal("STOP").as_deref(), Some("STOP"));
        assert_eq!(literal(r"a\*").as_deref(), Some("a*"));
        assert_eq!(literal("STO?"), None);
    }

    #[test]
    fn what_is_no_pattern_is_told_why() {
        let error = |pattern: &str| pattern.parse::<Glob>().unwrap_err().to_string();
        assert_eq!(error(""), "'' is not a pattern: it is empty; '*' matches everything");
        assert_eq!(error("web["), "'web[' is not a pattern: a '[' has no ']'");
        assert_eq!(error("[z-a]"), "'[z-a]' is not a pattern: a range in '[…]' runs backwards");
        assert_eq!(error("a\\"), r"'a\' is not a pattern: nothing stands behind the last '\'");
    }

    #[test]
    fn stars_do_not_multiply() {
        let glob: Glob = format!("{}b", "a*".repeat(200)).parse().unwrap();
        assert!(!glob.matches(&"a".repeat(20_000)));
    }

    /// By definition, in exponential time.
    fn by_definition(parts: &[Part], name: &[char]) -> bool {
        match (parts.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((Part::Star, rest)), None) => by_definition(rest, name),
            (Some((Part::Star, rest)), Some((_, shorter))) => {
                by_definition(rest, name) || by_definition(parts, shorter)
            }
            (Some((part, rest)), Some((c, shorter))) => part.takes(*c) && by_definition(rest, shorter),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_finds_what_the_definition_says(pattern in r"[ab*?]{1,8}", name in "[ab]{0,8}") {
            let glob: Glob = pattern.parse().unwrap();
            let chars: Vec<_> = name.chars().collect();
            prop_assert_eq!(glob.matches(&name), by_definition(&glob.parts, &chars));
        }

        #[test]
        fn no_pattern_panics(pattern in any::<String>(), name in any::<String>()) {
            if let Ok(glob) = pattern.parse::<Glob>() {
                let _ = (glob.matches(&name), glob.matches_ignoring_case(&name), glob.literal());
            }
        }
    }
}
