//! A network of the test's own on one machine: a namespace for each part (replicas, database, clients, upstream), a
//! router in the middle, and weather between any two parts, in each direction by itself.
//!
//! Everything lies in namespaces, so that nothing of the machine's own network changes and tests do not meet. All of it
//! goes with its owner, even one that is killed. Only root can make it.

mod namespace;
mod relay;
mod weather;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};

use accredit_tests_postgres::Home;

pub use namespace::Part;
pub use weather::{Disturbance, Weather};

/// Parts of one network: one network of four addresses for each, `10.77.N.0/30`.
const PARTS_MAX: usize = 64;

/// Parts that reach each other through a router.
pub struct Network {
    router: Part,
    parts: Vec<Part>,
    disturbances: AtomicU16,
    _home: Home,
}

impl Network {
    /// Makes a part for each of these names, all in reach of each other.
    ///
    /// # Panics
    /// When this is not root, or the machine has no network namespaces; with what is missing.
    #[track_caller]
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "network namespaces are made by root alone: run these tests as root (they touch nothing of the machine's own network)"
        );
        assert!(names.len() <= PARTS_MAX, "a network has at most {PARTS_MAX} parts");
        let home = Home::new();
        let router = Part::make(&home, "router", Ipv4Addr::LOCALHOST);
        let address = |n: usize| Ipv4Addr::new(10, 77, u8::try_from(n).expect("at most 64"), 2);
        let make = |(n, name): (usize, &&str)| Part::make(&home, name, address(n));
        let parts: Vec<Part> = names.iter().enumerate().map(make).collect();
        for part in &parts {
            part.join(&router);
        }
        router.forward();
        Self { router, parts, disturbances: AtomicU16::new(1), _home: home }
    }

    /// A part by its name.
    ///
    /// # Panics
    /// When there is none of that name.
    #[track_caller]
    #[must_use]
    pub fn part(&self, name: &str) -> &Part {
        let found = self.parts.iter().find(|part| part.name() == name);
        found.unwrap_or_else(|| panic!("the network has no part `{name}`"))
    }

    /// What one part sends to another meets this weather until the value is dropped. The other direction is as before.
    ///
    /// # Panics
    /// When there is no such part, or a direction is disturbed already.
    #[track_caller]
    #[must_use]
    pub fn disturb(&self, from: &str, to: &str, weather: Weather) -> Disturbance {
        let number = self.disturbances.fetch_add(1, Ordering::Relaxed);
        Disturbance::start(&self.router, self.part(from), self.part(to), weather, number)
    }

    /// Nothing passes between two parts, in either direction, until both values are dropped.
    ///
    /// # Panics
    /// As [`Network::disturb`].
    #[track_caller]
    #[must_use]
    pub fn part_ways(&self, one: &str, other: &str) -> [Disturbance; 2] {
        [self.disturb(one, other, Weather::CUT), self.disturb(other, one, Weather::CUT)]
    }
}
