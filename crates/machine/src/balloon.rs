//! The balloon: a device that is told a target, and a guest driver that moves towards it.
//!
//! The host sets a target (`balloon`), in pages of 4096 bytes to be taken from the guest. The guest's driver moves
//! towards it, 256 pages a step as Linux does, and after each step writes how many it has given. Each such write that
//! changes something is a `BALLOON_CHANGE`; the command itself emits nothing. A reset leaves both numbers as they are:
//! the driver of a guest that boots finds its target there, and begins again at nothing.

use std::time::Duration;

/// Bytes of a page, as virtio's balloon counts them on any guest.
const PAGE: i64 = 4096;

/// A machine's balloon, and the guest's driver for it.
#[derive(Debug)]
pub(crate) struct Balloon {
    /// What the host wants: how many pages the guest shall give.
    target: u32,
    /// What the guest's driver wrote last: how many pages it has given.
    given: u32,
    pub(crate) driver: BalloonDriver,
}

/// The guest's balloon driver.
#[derive(Clone, Debug)]
pub(crate) struct BalloonDriver {
    /// Whether it is loaded.
    pub(crate) present: bool,
    /// Whether it stands still: a guest without memory to give.
    pub(crate) stuck: bool,
    /// At most how many pages it moves a step, at least 1.
    pub(crate) step: u32,
    /// Guest time a step takes that gives pages.
    pub(crate) inflate_time: Duration,
    /// Guest time a step takes that takes pages back.
    pub(crate) deflate_time: Duration,
    /// How many pages it holds, by its own count.
    pages: u32,
}

impl Default for BalloonDriver {
    fn default() -> BalloonDriver {
        BalloonDriver {
            present: true,
            stuck: false,
            step: 256,
            inflate_time: Duration::from_micros(2_300),
            deflate_time: Duration::from_micros(1_100),
            pages: 0,
        }
    }
}

impl Balloon {
    pub(crate) fn new() -> Balloon {
        Balloon { target: 0, given: 0, driver: BalloonDriver::default() }
    }

    /// What `query-balloon` says: `ram` (bytes, DIMMs included) less the pages that the guest says it has given. A guest
    /// that lies can make it negative.
    pub(crate) fn actual(&self, ram: u64) -> i64 {
        i64::try_from(ram).unwrap_or(i64::MAX).saturating_sub(i64::from(self.given) * PAGE)
    }

    /// The host wants the guest to have `bytes` of its `ram`; more than it has means all of it.
    pub(crate) fn set_target(&mut self, ram: u64, bytes: u64) {
        let pages = ram.saturating_sub(bytes) / PAGE.unsigned_abs();
        self.target = u32::try_from(pages).unwrap_or(u32::MAX);
    }

    /// How long the driver's next step takes; `None` when there is nothing to do for it.
    pub(crate) fn next_step(&self) -> Option<Duration> {
        let driver = &self.driver;
        if !driver.present || driver.stuck || driver.pages == self.target {
            return None;
        }
        Some(if driver.pages < self.target { driver.inflate_time } else { driver.deflate_time })
    }

    /// The driver moves one step, and writes what it has given. Whether that changed anything: then it is an event.
    pub(crate) fn step(&mut self) -> bool {
        let driver = &mut self.driver;
        driver.pages = if driver.pages < self.target {
            driver.pages.saturating_add(driver.step).min(self.target)
        } else {
            driver.pages.saturating_sub(driver.step).max(self.target)
        };
        let pages = driver.pages;
        self.write(pages)
    }

    /// A guest writes any number of pages. Whether that changed anything: then it is an event.
    pub(crate) fn write(&mut self, pages: u32) -> bool {
        let changed = self.given != pages;
        self.given = pages;
        changed
    }

    /// The driver is unloaded: it takes all its pages back, and writes that once.
    pub(crate) fn unload(&mut self) -> bool {
        self.driver.present = false;
        self.driver.pages = 0;
        self.write(0)
    }

    /// The guest is gone, with what its driver knew. What it wrote stays.
    pub(crate) fn forget(&mut self) {
        self.driver.pages = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_first_step_and_the_last_are_those_of_the_recording() {
        let mut balloon = Balloon::new();
        balloon.set_target(256 * MIB, 134_217_728);
        assert!(balloon.step());
        assert_eq!(balloon.actual(256 * MIB), 267_386_880);
        let steps = 1 + std::iter::from_fn(|| balloon.next_step().map(|_| balloon.step())).count();
        assert_eq!((steps, balloon.actual(256 * MIB)), (128, 134_217_728));
        balloon.set_target(256 * MIB, 256 * MIB);
        balloon.step();
        assert_eq!(balloon.actual(256 * MIB), 135_266_304);
    }

    #[test]
    fn a_target_is_rounded_to_pages_and_clamped_to_ram() {
        let mut balloon = Balloon::new();
        balloon.driver.step = u32::MAX;
        // Measured: 201331592 of 256 MiB makes 201334784.
        balloon.set_target(256 * MIB, 201_331_592);
        balloon.step();
        assert_eq!(balloon.actual(256 * MIB), 201_334_784);
        balloon.set_target(256 * MIB, 1 << 62);
        balloon.step();
        assert_eq!(balloon.actual(256 * MIB), 268_435_456);
    }

    #[test]
    fn a_hostile_guest_makes_it_negative_as_on_a_real_qemu() {
        let mut balloon = Balloon::new();
        for (pages, changed, actual) in [
            (1, true, 536_866_816),
            (0x2_0000, true, 0),
            (0x10_0000, true, -3_758_096_384),
            (u32::MAX, true, -17_591_649_169_408),
            (u32::MAX, false, -17_591_649_169_408),
            (0, true, 536_870_912),
        ] {
            assert_eq!((balloon.write(pages), balloon.actual(512 * MIB)), (changed, actual), "{pages}");
        }
    }

    #[test]
    fn a_driver_that_is_absent_or_stuck_has_nothing_to_do() {
        let mut balloon = Balloon::new();
        balloon.set_target(256 * MIB, 128 * MIB);
        assert!(balloon.next_step().is_some());
        balloon.driver.stuck = true;
        assert_eq!(balloon.next_step(), None);
        balloon.driver.stuck = false;
        balloon.step();
        assert!(balloon.unload());
        assert_eq!((balloon.next_step(), balloon.actual(256 * MIB)), (None, 268_435_456));
        assert!(!balloon.unload());
    }

    proptest! {
        #[test]
        fn whatever_the_target_and_the_step_it_is_reached(
            targets in proptest::collection::vec(1_u64..1 << 40, 1..5),
            step in 1_u32..1 << 20,
            ram in 1_u64..1 << 30,
        ) {
            let mut balloon = Balloon::new();
            balloon.driver.step = step;
            for target in targets {
                balloon.set_target(ram, target);
                let most = balloon.target.abs_diff(balloon.driver.pages).div_ceil(step);
                let mut steps = 0;
                while balloon.next_step().is_some() {
                    prop_assert!(balloon.step(), "a step of the driver always changes something");
                    steps += 1;
                }
                prop_assert_eq!(steps, most);
                let reached = balloon.actual(ram).unsigned_abs();
                prop_assert!(reached >= target.min(ram) && reached < target.min(ram) + 4096);
            }
        }
    }
}
