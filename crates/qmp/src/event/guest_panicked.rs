//! `GUEST_PANICKED`: a guest OS panic was detected.
//!
//! Emitted when the guest tells its panic device (pvpanic, the Hyper-V crash registers, an s390 disabled wait, …) that it
//! panicked. Since QEMU 1.5, with `info` since 2.9. Once a panic since 6.0; 2.8 to 5.2 sent `pause` and then `poweroff`.
//! Never throttled.

use super::fields::{Fields, open_enum, put_back};
use super::{EventError, Typed};
use crate::dialect::Dialect;
use crate::json::scan::Scanner;
use crate::json::{Json, Object};

open_enum! {
    /// What QEMU did about it (`GuestPanicAction`). The document knows `pause` only.
    PanicAction {
        /// The guest was paused: a `STOP` follows, and `query-status` says `guest-panicked`.
        Pause = "pause",
        /// The guest was powered off, since QEMU 2.8: a `SHUTDOWN` follows.
        Poweroff = "poweroff",
        /// The guest runs on, since QEMU 5.0.
        Run = "run",
    }
}

open_enum! {
    /// Why an s390 guest crashed (`S390CrashReason`).
    S390CrashReason {
        /// Not known.
        Unknown = "unknown",
        /// A disabled wait state.
        DisabledWait = "disabled-wait",
        /// A loop of external interrupts.
        ExtintLoop = "extint-loop",
        /// A loop of program interrupts.
        PgmintLoop = "pgmint-loop",
        /// A loop of operation exceptions.
        OpintLoop = "opint-loop",
    }
}

/// A guest OS panic was detected.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestPanicked {
    /// What QEMU did about it.
    pub action: PanicAction,
    /// What the guest told about its panic. The document does not have it.
    pub info: Option<GuestPanicInformation>,
    /// Members that qev does not know.
    pub extra: Object,
}

/// What a guest told about its panic, by what `type` says it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum GuestPanicInformation {
    /// The five crash parameters of Hyper-V: for Windows, `arg1` is the bug check code.
    HyperV {
        /// Crash parameters 0 to 4.
        args: [u64; 5],
    },
    /// An s390 guest.
    S390 {
        /// The core that crashed.
        core: u32,
        /// The mask of its program status word.
        psw_mask: u64,
        /// The address of its program status word.
        psw_addr: u64,
        /// Why.
        reason: S390CrashReason,
    },
    /// A TDX guest, since QEMU 10.1.
    Tdx {
        /// The guest's error code.
        error_code: u32,
        /// What the guest wrote: never to be trusted.
        message: Box<str>,
        /// A guest physical address with more about it.
        gpa: Option<u64>,
    },
    /// Any other kind, or one of these with other members: the whole object, `type` included.
    Other(Object),
}

impl GuestPanicked {
    /// The event's name.
    pub const NAME: &'static str = "GUEST_PANICKED";
    const FIELDS: Fields = Fields { event: Self::NAME };

    /// The event for this action, without information from the guest.
    pub fn new(action: PanicAction) -> GuestPanicked {
        GuestPanicked { action, info: None, extra: Object::new() }
    }

    pub(super) fn decode(data: Option<&Json>) -> Result<GuestPanicked, EventError> {
        let (mut action, mut info, mut extra) = (None, None, Object::new());
        let fields = Self::FIELDS;
        fields.read(data, &mut extra, |name, scanner| {
            match name {
                "action" => action = Some((&*fields.string(scanner, "action")?).into()),
                "info" if scanner.peek() == Some(b'{') => info = Some(GuestPanicInformation::decode(scanner)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(GuestPanicked { action: fields.required("action", action)?, info, extra })
    }

    pub(super) fn encode(&self, dialect: Dialect, dropped: &mut Vec<&'static str>) -> Object {
        let mut data = Object::new().with("action", self.action.as_str());
        match (&self.info, dialect) {
            (Some(info), Dialect::Qemu) => data.insert("info", info.to_object()),
            (Some(_), Dialect::Document) => dropped.push("info"),
            (None, _) => {}
        }
        put_back(&mut data, &self.extra);
        data
    }
}

impl GuestPanicInformation {
    fn decode(scanner: &mut Scanner<'_>) -> Result<GuestPanicInformation, EventError> {
        let mut object = Object::new();
        GuestPanicked::FIELDS.walk(scanner, &mut object, &mut |_, _| Ok(false))?;
        Ok(GuestPanicInformation::from_object(object))
    }

    /// The information as its type says, or the object as it is when it does not fit its type.
    pub fn from_object(object: Object) -> GuestPanicInformation {
        let typed = match object.get("type").and_then(|kind| kind.as_str()) {
            Some("hyper-v") => GuestPanicInformation::hyper_v(&object),
            Some("s390") => GuestPanicInformation::s390(&object),
            Some("tdx") => GuestPanicInformation::tdx(&object),
            _ => None,
        };
        match typed {
            // A member that the type has no place for must not get lost.
            Some(typed) if typed.to_object() == object => typed,
            _ => GuestPanicInformation::Other(object),
        }
    }

    fn hyper_v(object: &Object) -> Option<GuestPanicInformation> {
        let arg = |name| object.get(name)?.as_u64();
        let args = [arg("arg1")?, arg("arg2")?, arg("arg3")?, arg("arg4")?, arg("arg5")?];
        Some(GuestPanicInformation::HyperV { args })
    }

    fn s390(object: &Object) -> Option<GuestPanicInformation> {
        let number = |name| object.get(name)?.as_u64();
        Some(GuestPanicInformation::S390 {
            core: number("core")?.try_into().ok()?,
            psw_mask: number("psw-mask")?,
            psw_addr: number("psw-addr")?,
            reason: object.get("reason")?.as_str()?.into(),
        })
    }

    fn tdx(object: &Object) -> Option<GuestPanicInformation> {
        Some(GuestPanicInformation::Tdx {
            error_code: object.get("error-code")?.as_u64()?.try_into().ok()?,
            message: object.get("message")?.as_str()?.into(),
            gpa: object.get("gpa").and_then(crate::json::Value::as_u64),
        })
    }

    /// As it stands in the event.
    pub fn to_object(&self) -> Object {
        match self {
            GuestPanicInformation::HyperV { args } => {
                let names = ["arg1", "arg2", "arg3", "arg4", "arg5"];
                names
                    .iter()
                    .zip(args)
                    .fold(Object::new().with("type", "hyper-v"), |object, (name, arg)| object.with(*name, *arg))
            }
            GuestPanicInformation::S390 { core, psw_mask, psw_addr, reason } => Object::new()
                .with("type", "s390")
                .with("core", *core)
                .with("psw-mask", *psw_mask)
                .with("psw-addr", *psw_addr)
                .with("reason", reason.as_str()),
            GuestPanicInformation::Tdx { error_code, message, gpa } => {
                let mut object =
                    Object::new().with("type", "tdx").with("error-code", *error_code).with("message", &**message);
                if let Some(gpa) = gpa {
                    object.insert("gpa", *gpa);
                }
                object
            }
            GuestPanicInformation::Other(object) => object.clone(),
        }
    }
}

impl From<GuestPanicked> for Typed {
    fn from(event: GuestPanicked) -> Typed {
        Typed::GuestPanicked(event)
    }
}
