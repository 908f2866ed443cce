//! What packets in one direction meet on their way: nothing passes, some are lost, all are late.

use std::time::Duration;

use super::namespace::Part;
use super::relay::Relay;
use crate::inject::must_have_struck;

/// Rules that take packets out of a relay come before those that lead into one.
const OUT_OF_RELAY: u16 = 1_000;
const INTO_RELAY: u16 = 10_000;

/// The weather between two parts, in one direction.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// How long each packet is held. They stay in order.
    pub delay: Duration,
    /// How many of a hundred packets are lost.
    pub loss_percent: u8,
    /// Which ones, is a function of this.
    pub seed: u64,
}

impl Weather {
    /// Nothing passes, and nobody is told.
    pub const CUT: Self = Self { delay: Duration::ZERO, loss_percent: 100, seed: 0 };

    /// Everything passes, this much later.
    #[must_use]
    pub const fn late(delay: Duration) -> Self {
        Self { delay, loss_percent: 0, seed: 0 }
    }
}

/// Weather in force, until this is dropped. Packets that are held at that moment are lost.
pub struct Disturbance {
    what: String,
    router: Part,
    rules: [String; 2],
    relay: Relay,
}

impl Disturbance {
    #[track_caller]
    pub(super) fn start(router: &Part, from: &Part, to: &Part, weather: Weather, number: u16) -> Self {
        let interface = format!("relay{number}");
        let relay = router.inside(|| Relay::start(&interface, weather));
        let rules = [
            format!(
                "pref {} from {} to {} lookup {number}",
                INTO_RELAY + number,
                from.address(),
                to.address()
            ),
            format!("pref {} iif {interface} lookup main", OUT_OF_RELAY + number),
        ];
        let [into, out] = &rules;
        // Led into the relay last: what comes out of it must find its way already.
        router.ip(&format!(
            "link set {interface} up\n\
             rule add {out}\n\
             route add default dev {interface} table {number}\n\
             rule add {into}"
        ));
        let what = format!("{weather:?} from {} to {}", from.name(), to.name());
        Self { what, router: router.clone(), rules, relay }
    }

    /// How many packets were lost or late so far.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.relay.struck()
    }

    /// Ends the weather. Gives how many packets were lost or late.
    ///
    /// # Panics
    /// When there were none.
    #[track_caller]
    pub fn lift(self) -> u64 {
        must_have_struck(&self.what, self.struck())
    }
}

impl Drop for Disturbance {
    fn drop(&mut self) {
        let [into, out] = &self.rules;
        self.router.ip(&format!("rule del {into}\nrule del {out}"));
        self.relay.end();
    }
}
