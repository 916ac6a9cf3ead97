//! How many CPUs a machine has, and how many more it may get: QEMU's `-smp`.

use std::fmt;
use std::str::FromStr;

/// A machine's CPUs: those that it starts with, its slots for more, and where each slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smp {
    /// How many it starts with, at least 1.
    pub cpus: u32,
    /// How many slots it has, 1 to 288: `sockets` × `dies` × `cores` × `threads`.
    pub maxcpus: u32,
    /// How many sockets there are.
    pub sockets: u32,
    /// How many dies a socket has.
    pub dies: u32,
    /// How many cores a die has.
    pub cores: u32,
    /// How many threads a core has.
    pub threads: u32,
}

/// As many as q35 has.
const MAX_CPUS: u32 = 288;

impl Default for Smp {
    /// One CPU, and no slot for another: a QEMU without `-smp`.
    fn default() -> Smp {
        Smp { cpus: 1, maxcpus: 1, sockets: 1, dies: 1, cores: 1, threads: 1 }
    }
}

/// The text does not describe a machine's CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmpError {
    /// A number is none, or is not from 1 to 288.
    Number {
        /// Which member.
        member: &'static str,
        /// What was given.
        given: Box<str>,
    },
    /// There is no such member.
    NoSuchMember(Box<str>),
    /// There are fewer slots than CPUs.
    MaxcpusTooSmall {
        /// How many CPUs it is to start with.
        cpus: u32,
        /// How many slots there are.
        maxcpus: u32,
    },
    /// Sockets, dies, cores and threads do not make as many slots as there are.
    Product {
        /// How many they make.
        product: u64,
        /// How many slots there are.
        maxcpus: u32,
    },
}

impl fmt::Display for SmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SmpError::Number { member, given } => {
                write!(f, "smp: {member} '{}': expected a number from 1 to {MAX_CPUS}", given.escape_debug())
            }
            SmpError::NoSuchMember(name) => write!(
                f,
                "smp: no '{}': expected CPUS[,maxcpus=N][,sockets=N][,dies=N][,cores=N][,threads=N], such as 1,maxcpus=4",
                name.escape_debug()
            ),
            SmpError::MaxcpusTooSmall { cpus, maxcpus } => {
                write!(f, "smp: {cpus} CPUs do not go into {maxcpus} slots: give a larger maxcpus")
            }
            SmpError::Product { product, maxcpus } => write!(
                f,
                "smp: sockets × dies × cores × threads is {product} where maxcpus is {maxcpus}: make them equal, or \
                 leave one out"
            ),
        }
    }
}

impl std::error::Error for SmpError {}

impl FromStr for Smp {
    type Err = SmpError;

    /// Reads `1,maxcpus=4` by the rules of QEMU's `-smp`: `cpus=` may be left out, and so may whatever follows from the
    /// rest. Cores are preferred to sockets, as in machine types since 6.2. A zero, which QEMU warns of, is refused.
    fn from_str(text: &str) -> Result<Smp, SmpError> {
        let mut given = [("cpus", 0), ("maxcpus", 0), ("sockets", 0), ("dies", 0), ("cores", 0), ("threads", 0)];
        for (position, part) in text.split(',').enumerate() {
            let (name, value) = match part.split_once('=') {
                None if position == 0 => ("cpus", part),
                None if part.is_empty() => continue,
                None => return Err(SmpError::NoSuchMember(part.into())),
                Some(member) => member,
            };
            let Some((member, number)) = given.iter_mut().find(|(member, _)| *member == name) else {
                return Err(SmpError::NoSuchMember(name.into()));
            };
            *number = read_number(member, value)?;
        }
        let [(_, cpus), (_, maxcpus), (_, sockets), (_, dies), (_, cores), (_, threads)] = given;
        Smp { cpus, maxcpus, sockets, dies, cores, threads }.completed()
    }
}

fn read_number(member: &'static str, given: &str) -> Result<u32, SmpError> {
    let number = given.parse().ok().filter(|number| (1..=MAX_CPUS).contains(number));
    number.ok_or_else(|| SmpError::Number { member, given: given.into() })
}

impl Smp {
    /// Works out what is 0, which was left out.
    fn completed(self) -> Result<Smp, SmpError> {
        let Smp { cpus, maxcpus, mut sockets, dies, mut cores, mut threads } = self;
        let dies = dies.max(1);
        let wanted = if maxcpus > 0 { maxcpus } else { cpus };
        if wanted > 0 && cores == 0 {
            (sockets, threads) = (sockets.max(1), threads.max(1));
            cores = share(wanted, [sockets, dies, threads]);
        } else if wanted > 0 && sockets == 0 {
            threads = threads.max(1);
            sockets = share(wanted, [dies, cores, threads]);
        }
        if wanted > 0 && threads == 0 {
            threads = share(wanted, [sockets, dies, cores]);
        }
        if wanted == 0 {
            (sockets, cores, threads) = (sockets.max(1), cores.max(1), threads.max(1));
        }
        let product = product([sockets, dies, cores, threads]);
        let all = u32::try_from(product).unwrap_or(u32::MAX);
        let maxcpus = if wanted > 0 { wanted } else { all };
        let smp = Smp { cpus: if cpus > 0 { cpus } else { maxcpus }, maxcpus, sockets, dies, cores, threads };
        smp.check().map(|()| smp)
    }

    /// Whether the numbers go together: they may have been put in one by one.
    pub(crate) fn check(&self) -> Result<(), SmpError> {
        for (member, number) in [("cpus", self.cpus), ("maxcpus", self.maxcpus)] {
            read_number(member, &number.to_string())?;
        }
        let product = product([self.sockets, self.dies, self.cores, self.threads]);
        if product != u64::from(self.maxcpus) {
            return Err(SmpError::Product { product, maxcpus: self.maxcpus });
        }
        if self.cpus > self.maxcpus {
            return Err(SmpError::MaxcpusTooSmall { cpus: self.cpus, maxcpus: self.maxcpus });
        }
        Ok(())
    }
}

fn product(numbers: [u32; 4]) -> u64 {
    numbers.into_iter().map(u64::from).fold(1, u64::saturating_mul)
}

/// How many are left for each of so many.
fn share(all: u32, among: [u32; 3]) -> u32 {
    let [a, b, c] = among;
    let among = product([a, b, c, 1]);
    u32::try_from(u64::from(all).checked_div(among).unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real QEMU 7.2 makes of it.
    #[test]
    fn what_is_left_out_follows_from_the_rest() {
        for (text, cpus, maxcpus, [sockets, dies, cores, threads]) in [
            ("1", 1, 1, [1, 1, 1, 1]),
            ("1,maxcpus=4", 1, 4, [1, 1, 4, 1]),
            ("cpus=2", 2, 2, [1, 1, 2, 1]),
            ("2,sockets=2,cores=2,threads=2,maxcpus=8", 2, 8, [2, 1, 2, 2]),
            ("1,sockets=2,dies=2,cores=2,threads=2,maxcpus=16", 1, 16, [2, 2, 2, 2]),
            ("1,dies=3,maxcpus=6", 1, 6, [1, 3, 2, 1]),
            ("2,threads=2", 2, 2, [1, 1, 1, 2]),
            ("1,cores=2,maxcpus=6", 1, 6, [3, 1, 2, 1]),
            ("maxcpus=3", 3, 3, [1, 1, 3, 1]),
            ("sockets=2,threads=2", 4, 4, [2, 1, 1, 2]),
            ("288", 288, 288, [1, 1, 288, 1]),
        ] {
            let expected = Smp { cpus, maxcpus, sockets, dies, cores, threads };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (text, expected) in [
            ("", "smp: cpus '': expected a number from 1 to 288"),
            ("x", "smp: cpus 'x': expected a number from 1 to 288"),
            ("1,maxcpus=300", "smp: maxcpus '300': expected a number from 1 to 288"),
            ("0", "smp: cpus '0': expected a number from 1 to 288"),
            ("-1", "smp: cpus '-1': expected a number from 1 to 288"),
            ("2,maxcpus=1", "smp: 2 CPUs do not go into 1 slots: give a larger maxcpus"),
            (
                "2,cores=4",
                "smp: sockets × dies × cores × threads is 0 where maxcpus is 2: make them equal, or leave one out",
            ),
            (
                "3,sockets=2,cores=2",
                "smp: sockets × dies × cores × threads is 0 where maxcpus is 3: make them equal, or leave one out",
            ),
        ] {
            assert_eq!(text.parse::<Smp>().unwrap_err().to_string(), expected, "{text}");
        }
        let foo = "2,foo=1".parse::<Smp>().unwrap_err().to_string();
        assert!(foo.starts_with("smp: no 'foo': expected CPUS[,maxcpus=N]"), "{foo}");
    }
}
