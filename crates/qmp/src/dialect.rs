//! The two ways in which the five events of the document are written.

use std::fmt;
use std::str::FromStr;

/// Which member names an event is encoded with. Both decode to the same typed value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As the document *QEMU Machine Protocol Events* describes them: `ACPI_DEVICE_OST` flat, `sector-count`.
    Document,
    /// As QEMU sends them since 2.1: `ACPI_DEVICE_OST` inside `info`, `sectors-count`, and a `type`.
    #[default]
    Qemu,
}

impl Dialect {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Document => "document",
            Dialect::Qemu => "qemu",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no such dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchDialect(Box<str>);

impl fmt::Display for NoSuchDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no dialect '{}': expected 'document' or 'qemu'", self.0.escape_debug())
    }
}

impl std::error::Error for NoSuchDialect {}

impl FromStr for Dialect {
    type Err = NoSuchDialect;

    fn from_str(name: &str) -> Result<Dialect, NoSuchDialect> {
        match name {
            "document" => Ok(Dialect::Document),
            "qemu" => Ok(Dialect::Qemu),
            other => Err(NoSuchDialect(other.into())),
        }
    }
}
