//! What a real QEMU 7.2 answers to the commands about memory.

use super::*;
use crate::device::Driver;

const MIB: u64 = 1 << 20;

fn memory(text: &str) -> MachineMemory {
    MachineMemory::new(text.parse().unwrap())
}

fn object_add(memory: &mut MachineMemory, id: &str, size: u64) -> Result<(), QmpError> {
    let arguments = Object::new().with("qom-type", "memory-backend-ram").with("id", id).with("size", size);
    memory.object_add(Arguments::new(arguments))
}

fn device_add(memory: &mut MachineMemory, id: &str, memdev: &str, more: Object) -> Result<(), String> {
    let mut properties = vec![("memdev".to_owned(), memdev.to_owned())];
    properties.extend(more.into_iter().map(|(name, value)| (name.to_string(), value.to_string())));
    let options = DeviceOptions { id: Some(id.to_owned()), driver: Driver::Dimm, properties };
    let path = format!("/machine/peripheral/{id}");
    memory.device_add(options, path).map_err(|error| error.desc.into_owned())
}

#[test]
fn dimms_go_where_q35_puts_them() {
    for (text, address) in [
        ("256M,slots=1,maxmem=1G", 4 << 30),
        ("1G,slots=1,maxmem=2G", 4 << 30),
        ("3G,slots=1,maxmem=8G", 5 << 30),
        ("6G,slots=1,maxmem=8G", 8_u64 << 30),
    ] {
        let mut memory = memory(text);
        object_add(&mut memory, "m1", 128 * MIB).unwrap();
        device_add(&mut memory, "d1", "m1", Object::new()).unwrap();
        assert_eq!(memory.by_address().first().unwrap().1.address, address, "{text}");
    }
}

#[test]
fn addresses_that_can_not_be_are_refused_in_qemus_words() {
    let mut memory = memory("256M,slots=4,maxmem=1G");
    for (id, size) in [("m1", 128), ("m2", 128), ("odd", 3), ("big", 2048), ("all", 768)] {
        object_add(&mut memory, id, size * MIB).unwrap();
    }
    device_add(&mut memory, "d1", "m1", Object::new().with("slot", 2)).unwrap();
    for (memdev, more, expected) in [
        ("m2", ("addr", 1_i64), "address must be aligned to 0x200000 bytes"),
        (
            "m2",
            ("addr", 0x20_0000),
            "can't add memory device [0x200000:0x8000000], usable range for memory devices [0x100000000:0x130000000]",
        ),
        ("m2", ("addr", 0x1_0000_0000), "address range conflicts with memory device id='d1'"),
        ("m2", ("addr", 0x1_0600_0000), "address range conflicts with memory device id='d1'"),
        ("odd", ("addr", 0), "backend memory size must be multiple of 0x200000"),
        (
            "big",
            ("addr", 0),
            "not enough space, currently 0x8000000 in use of total space for memory devices 0x30000000",
        ),
        (
            "all",
            ("addr", 0),
            "not enough space, currently 0x8000000 in use of total space for memory devices 0x30000000",
        ),
        ("m1", ("slot", 9), "invalid slot number 9, valid range is [0-3]"),
        ("m1", ("slot", 2), "slot 2 is busy"),
        ("m1", ("slot", -2), "invalid slot number -2, valid range is [0-3]"),
        ("m1", ("addr", 0), "can't use already busy memdev: m1"),
        ("m1", ("node", 1), "'DIMM property node has value 1' which exceeds the number of numa nodes: 1"),
        ("m2", ("node", 1), "'DIMM property node has value 1' which exceeds the number of numa nodes: 1"),
    ] {
        let (name, value) = more;
        let refused = device_add(&mut memory, "d2", memdev, Object::new().with(name, value));
        assert_eq!(refused, Err(expected.to_owned()), "{memdev} {name}={value}");
    }
    device_add(&mut memory, "d2", "m2", Object::new().with("addr", 0x1_0800_0000_i64)).unwrap();
    let shown: Vec<_> = memory.by_address().iter().map(|(slot, dimm)| (*slot, dimm.address)).collect();
    assert_eq!(shown, [(2, 0x1_0000_0000), (0, 0x1_0800_0000)]);
}

#[test]
fn a_machine_without_slots_says_so_before_anything_else() {
    let mut memory = memory("256M");
    object_add(&mut memory, "m1", 128 * MIB).unwrap();
    let expected = Err("no slots where allocated, please specify the 'slots' option".to_owned());
    assert_eq!(device_add(&mut memory, "d1", "m1", Object::new()), expected);
}

#[test]
fn a_device_is_there_before_its_memory_is_looked_for() {
    let mut memory = memory("128M,slots=1,maxmem=1G");
    let expected = Err("Invalid parameter type for 'memdev', expected: memory-backend".to_owned());
    assert_eq!(device_add(&mut memory, "d1", "d1", Object::new()), expected);
    assert_eq!(device_add(&mut memory, "d1", "d2", Object::new()), Err("Device 'd2' not found".to_owned()));
}

#[test]
fn a_gap_is_used_again() {
    let mut memory = memory("256M,slots=3,maxmem=1G");
    for id in ["m1", "m2", "m3"] {
        object_add(&mut memory, id, 128 * MIB).unwrap();
        device_add(&mut memory, &id.replace('m', "d"), id, Object::new()).unwrap();
    }
    assert_eq!(memory.plugged(), 384 * MIB);
    assert_eq!(memory.object_del("m2").unwrap_err().desc, "object 'm2' is in use, can not be deleted");
    memory.eject(1).unwrap();
    assert_eq!(memory.object_del("m2"), Ok(()));
    object_add(&mut memory, "m2", 64 * MIB).unwrap();
    device_add(&mut memory, "d4", "m2", Object::new()).unwrap();
    let (slot, dimm) = memory.by_address().swap_remove(1);
    assert_eq!((slot, dimm.address, dimm.path.as_str()), (1, 0x1_0800_0000, "/machine/peripheral/d4"));
    assert!(memory.unplug("/machine/peripheral/d4") && memory.unplug("d4"));
    assert!(!memory.unplug("/machine/peripheral/d5") && !memory.unplug("d5"));
}

#[test]
fn objects_are_refused_in_qemus_words() {
    let mut memory = memory("256M");
    for (size, expected) in [
        (0, "property 'size' of memory-backend-ram doesn't take value '0'"),
        (u64::MAX, "cannot set up guest memory 'm1': Cannot allocate memory"),
        (1 << 62, "cannot set up guest memory 'm1': Cannot allocate memory"),
    ] {
        assert_eq!(object_add(&mut memory, "m1", size).unwrap_err().desc, expected);
    }
    assert_eq!(object_add(&mut memory, "1m", MIB).unwrap_err().desc, "Parameter 'id' expects an identifier");
    object_add(&mut memory, "m1", 1).unwrap();
    assert_eq!(
        object_add(&mut memory, "m1", MIB).unwrap_err().desc,
        "attempt to add duplicate property 'm1' to object (type 'container')"
    );
    assert_eq!(memory.object_del("m2").unwrap_err().desc, "object 'm2' not found");
}

#[test]
fn what_was_asked_of_a_dimm_goes_with_it() {
    let mut memory = memory("256M,slots=1,maxmem=1G");
    object_add(&mut memory, "m1", 128 * MIB).unwrap();
    device_add(&mut memory, "d1", "m1", Object::new()).unwrap();
    assert!(memory.unplug("d1"));
    memory.eject(0).unwrap();
    device_add(&mut memory, "d2", "m1", Object::new()).unwrap();
    let slot = memory.slots().first().unwrap();
    assert_eq!((slot.inserting, slot.removing), (true, false));
}
