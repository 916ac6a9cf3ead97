//! The error that a QMP reply carries: a class and a sentence.

use crate::json::{Object, Value};
use std::borrow::Cow;
use std::fmt;

/// QEMU's error classes. Clients may act on the class; the sentence is for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Anything that has no class of its own.
    GenericError,
    /// The command is not known, or not allowed in this phase of the session.
    CommandNotFound,
    /// The device is there but not active: no balloon driver, for one.
    DeviceNotActive,
    /// No such device.
    DeviceNotFound,
    /// KVM lacks a capability.
    KvmMissingCap,
    /// A class that qev does not know, as it came.
    Other(Box<str>),
}

impl ErrorClass {
    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            ErrorClass::GenericError => "GenericError",
            ErrorClass::CommandNotFound => "CommandNotFound",
            ErrorClass::DeviceNotActive => "DeviceNotActive",
            ErrorClass::DeviceNotFound => "DeviceNotFound",
            ErrorClass::KvmMissingCap => "KVMMissingCap",
            ErrorClass::Other(name) => name,
        }
    }
}

impl From<&str> for ErrorClass {
    fn from(name: &str) -> ErrorClass {
        match name {
            "GenericError" => ErrorClass::GenericError,
            "CommandNotFound" => ErrorClass::CommandNotFound,
            "DeviceNotActive" => ErrorClass::DeviceNotActive,
            "DeviceNotFound" => ErrorClass::DeviceNotFound,
            "KVMMissingCap" => ErrorClass::KvmMissingCap,
            other => ErrorClass::Other(other.into()),
        }
    }
}

/// What a command's `error` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QmpError {
    /// What kind of error, for programs.
    pub class: ErrorClass,
    /// What happened, for people.
    pub desc: Cow<'static, str>,
}

impl QmpError {
    /// An error of any class.
    pub fn new(class: ErrorClass, desc: impl Into<Cow<'static, str>>) -> QmpError {
        QmpError { class, desc: desc.into() }
    }

    /// An error of the class that most errors have.
    pub fn generic(desc: impl Into<Cow<'static, str>>) -> QmpError {
        QmpError::new(ErrorClass::GenericError, desc)
    }

    /// As it stands in a reply.
    pub fn to_value(&self) -> Value {
        Object::new().with("class", self.class.as_str()).with("desc", &*self.desc).into()
    }
}

impl fmt::Display for QmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class.as_str(), self.desc)
    }
}

impl std::error::Error for QmpError {}
