//! Whether the guest has a way to tell of a panic. Without one QEMU does not notice, and the run looks like a reset, or
//! like nothing until the time is over.
//!
//! | machine | how a guest tells |
//! |---|---|
//! | s390x, POWER | always: by what the architecture has for it |
//! | x86 | a device of the family `pvpanic`, or Hyper-V's way (`-cpu …,hv-crash`) |
//! | others | a device of the family `pvpanic` |

use qev_link::Client;
use qev_qmp::{Json, Object};
use std::time::Duration;

/// How long QEMU may take for each answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Where QEMU has the devices of its command line, with a name and without, and those of the machine itself.
const DEVICES: [&str; 3] = ["/machine/peripheral", "/machine/peripheral-anon", "/machine/unattached"];

/// A sentence that says what to add, when there is no such way. When QEMU does not answer, there is nothing to say.
pub(super) async fn missing(client: Client) -> Option<String> {
    let arch = ask(&client, "query-target", &[]).await?.get("arch")?.string()?;
    let processors = ask(&client, "query-cpus-fast", &[]).await?;
    // Without one (`-M none`) there is no guest.
    let processor = first(&processors)?.get("qom-path")?.string()?;
    let is_x86 = matches!(arch.as_str(), "x86_64" | "i386");
    if matches!(arch.as_str(), "s390x" | "ppc64" | "ppc") {
        return None;
    }
    for path in DEVICES {
        // A machine may not have such a place.
        let devices = ask(&client, "qom-list", &[("path", path)]).await;
        if devices.is_some_and(|devices| has_panic_device(&devices)) {
            return None;
        }
    }
    if is_x86 {
        let arguments = [("path", processor.as_str()), ("property", "hv-crash")];
        if ask(&client, "qom-get", &arguments).await.is_some_and(|answer| answer.as_text() == "true") {
            return None;
        }
    }
    let device = if is_x86 { "pvpanic" } else { "pvpanic-pci" };
    Some(format!("no panic device: a guest that panics cannot tell QEMU; add -device {device}"))
}

async fn ask(client: &Client, command: &str, arguments: &[(&str, &str)]) -> Option<Json> {
    let arguments = arguments
        .iter()
        .fold(Object::new(), |object, (name, value)| object.with((*name).to_owned(), (*value).to_owned()));
    let arguments = (!arguments.is_empty()).then(|| Json::from(&arguments));
    client.execute_with_timeout(command, arguments, ANSWER).await.ok()
}

fn first(list: &Json) -> Option<Json> {
    list.value().as_array()?.first().map(Json::from)
}

/// `[{"name": "device[0]", "type": "child<pvpanic>"}, …]`
fn has_panic_device(devices: &Json) -> bool {
    let devices = devices.value();
    let mut types =
        devices.as_array().into_iter().flatten().filter_map(|device| device.as_object()?.get("type")?.as_str());
    types.any(|name| name.starts_with("child<pvpanic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(types: &[&str], expected: bool) {
        let devices: Vec<String> = types.iter().map(|name| format!(r#"{{"name": "d", "type": "{name}"}}"#)).collect();
        let devices = Json::parse(&format!("[{}]", devices.join(", "))).unwrap();
        assert_eq!(has_panic_device(&devices), expected, "{types:?}");
    }

    #[test]
    fn each_of_the_family_is_a_panic_device() {
        check(&["string", "child<virtio-balloon-pci>"], false);
        check(&["string", "child<pvpanic>"], true);
        check(&["child<pvpanic-pci>"], true);
        check(&["child<not-pvpanic>"], false);
        check(&[], false);
    }
}
