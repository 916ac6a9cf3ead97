//! Which of several members that nobody expects QEMU names: the first in a hash table of GLib's.
//!
//! QEMU puts the names of an object into such a table, in the order in which it keeps them itself, takes out each that a
//! command knows, and names the first that is left: by the place in the table, which has no order to speak of. So the
//! table is built here too, as GLib 2.58 and later build it.

use super::print::modified_utf8;

/// What QEMU names of an object with these members, in QEMU's own order, when those were visited, in that order.
pub(super) fn first<'a>(names: impl IntoIterator<Item = &'a str>, visited: &[&str]) -> Option<&'a str> {
    let mut table =
        Table { slots: vec![Slot::Unused; 1 << MIN_SHIFT], modulus: MODULI[MIN_SHIFT], nodes: 0, occupied: 0 };
    names.into_iter().for_each(|name| table.insert(name));
    visited.iter().for_each(|name| table.remove(name));
    table.slots.iter().find_map(|slot| match slot {
        Slot::Used(name, _) => Some(*name),
        _ => None,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot<'a> {
    Unused,
    /// Something was here.
    Tombstone,
    Used(&'a str, u32),
}

#[derive(Debug)]
struct Table<'a> {
    /// A power of 2 of them.
    slots: Vec<Slot<'a>>,
    /// The prime that goes with it.
    modulus: u32,
    nodes: usize,
    /// With tombstones.
    occupied: usize,
}

const MIN_SHIFT: usize = 3;

/// The largest primes below the powers of 2, mostly. An object of a request has at most 2^20 members.
const MODULI: [u32; 23] = [
    1, 2, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131_071, 262_139, 524_287,
    1_048_573, 2_097_143, 4_194_301,
];

impl<'a> Table<'a> {
    fn at(&self, place: usize) -> Slot<'a> {
        self.slots.get(place).copied().unwrap_or(Slot::Unused)
    }

    fn put(&mut self, place: usize, slot: Slot<'a>) {
        if let Some(at) = self.slots.get_mut(place) {
            *at = slot;
        }
    }

    fn home(&self, hash: u32) -> usize {
        usize::try_from(hash.wrapping_mul(11) % self.modulus).unwrap_or(0)
    }

    fn next(&self, place: usize, step: &mut usize) -> usize {
        *step += 1;
        (place + *step) & (self.slots.len() - 1)
    }

    fn insert(&mut self, name: &'a str) {
        let hash = hash(name);
        let (mut place, mut step) = (self.home(hash), 0);
        // Names differ, and there are no tombstones yet.
        while self.at(place) != Slot::Unused {
            place = self.next(place, &mut step);
        }
        self.put(place, Slot::Used(name, hash));
        self.nodes += 1;
        self.occupied += 1;
        self.maybe_resize();
    }

    fn remove(&mut self, name: &str) {
        let (mut place, mut step) = (self.home(hash(name)), 0);
        loop {
            match self.at(place) {
                Slot::Unused => return,
                Slot::Used(known, _) if known == name => break,
                _ => place = self.next(place, &mut step),
            }
        }
        self.put(place, Slot::Tombstone);
        self.nodes -= 1;
        self.maybe_resize();
    }

    fn maybe_resize(&mut self) {
        let size = self.slots.len();
        if (size > self.nodes * 4 && size > 1 << MIN_SHIFT) || size <= self.occupied + self.occupied / 16 {
            self.resize();
        }
    }

    /// In place: who is moved evicts who has not been moved yet.
    fn resize(&mut self) {
        let old_size = self.slots.len();
        let wanted = self.nodes * 1333 / 1000;
        let shift = usize::try_from(usize::BITS - wanted.leading_zeros()).unwrap_or(0).max(MIN_SHIFT);
        let size = 1 << shift;
        self.modulus = MODULI.get(shift).copied().unwrap_or(u32::MAX);
        self.slots.resize(old_size.max(size), Slot::Unused);
        let mut moved = vec![false; old_size.max(size)];
        let has_moved = |moved: &[bool], place: usize| moved.get(place).copied().unwrap_or(true);
        let mask = size - 1;
        for from in 0..old_size {
            let Slot::Used(mut name, mut hash) = self.at(from) else {
                self.put(from, Slot::Unused);
                continue;
            };
            if has_moved(&moved, from) {
                continue;
            }
            self.put(from, Slot::Unused);
            loop {
                let (mut place, mut step) = (self.home(hash), 0);
                while has_moved(&moved, place) {
                    step += 1;
                    place = (place + step) & mask;
                }
                if let Some(moved) = moved.get_mut(place) {
                    *moved = true;
                }
                let evicted = self.at(place);
                self.put(place, Slot::Used(name, hash));
                match evicted {
                    Slot::Used(other, its_hash) => (name, hash) = (other, its_hash),
                    _ => break,
                }
            }
        }
        self.slots.truncate(size);
        self.occupied = self.nodes;
    }
}

/// GLib's hash of a string; 0 and 1 are not for strings.
fn hash(name: &str) -> u32 {
    let hash = modified_utf8(name).fold(5381_u32, |hash, byte| {
        // Bytes have a sign there.
        hash.wrapping_mul(33).wrapping_add_signed(i32::from(byte.cast_signed()))
    });
    if hash <= 1 { 2 } else { hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set of names that is easily written down: `a0`, `b1`, …
    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("{}{i}", char::from(b'a' + u8::try_from(i % 26).unwrap()))).collect()
    }

    fn check(count: usize, taken: usize, expected: Option<&str>) {
        let names = names(count);
        let visited: Vec<&str> = names.iter().take(taken).map(String::as_str).collect();
        assert_eq!(first(names.iter().map(String::as_str), &visited), expected, "{count} {taken}");
    }

    #[test]
    fn the_first_that_is_left_is_the_one_that_glib_finds() {
        // What GLib 2.74 itself answered.
        check(1, 0, Some("a0"));
        check(1, 1, None);
        check(2, 0, Some("a0"));
        check(7, 0, Some("a0"));
        check(7, 3, Some("f5"));
        check(8, 0, Some("d3"));
        check(9, 0, Some("d3"));
        check(12, 4, Some("h7"));
        check(16, 15, Some("p15"));
        check(40, 0, Some("n39"));
        check(40, 20, Some("n39"));
        check(100, 95, Some("v99"));
        check(1000, 0, Some("e524"));
        check(1000, 999, Some("l999"));
    }
}
