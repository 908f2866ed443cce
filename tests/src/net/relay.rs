//! A router's interface whose packets pass through this process, which may lose them or hold them.

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::weather::Weather;
use crate::inject::Schedule;

/// Packets that are held at one time; what comes on top is lost, as in any router.
const HELD_MAX: usize = 10_000;
/// Bytes of the largest packet on a cable.
const PACKET_BYTES_MAX: usize = 1_500;
/// How long a relay may take to notice that it is over.
const TICK: Duration = Duration::from_millis(20);

/// Such an interface, at work.
pub(super) struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    struck: AtomicU64,
}

impl Relay {
    /// Makes the interface in the namespace of the calling thread.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    pub(super) fn start(interface: &str, weather: Weather) -> Self {
        let device = DeviceBuilder::new().name(interface).mtu(1_500).build_sync();
        let device = device.expect("root can make a TUN interface where /dev/net/tun exists");
        let shared = Arc::<Shared>::default();
        let work =
            Work { device, weather, schedule: Schedule::of(weather.seed), shared: Arc::clone(&shared) };
        Self { shared, thread: Some(std::thread::spawn(|| work.run())) }
    }

    pub(super) fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::Relaxed)
    }

    /// Takes the interface away.
    pub(super) fn end(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    device: SyncDevice,
    weather: Weather,
    schedule: Schedule,
    shared: Arc<Shared>,
}

impl Work {
    fn run(mut self) {
        let mut held: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        while !self.shared.over.load(Ordering::Relaxed) {
            let next = held.front().map_or(TICK, |(due, _)| due.saturating_duration_since(Instant::now()));
            if self.has_packet(next.min(TICK)) {
                let mut packet = vec![0; PACKET_BYTES_MAX];
                let Ok(length) = self.device.recv(&mut packet) else { continue };
                packet.truncate(length);
                self.take(packet, &mut held);
            }
            while held.front().is_some_and(|(due, _)| *due <= Instant::now()) {
                let Some((_, packet)) = held.pop_front() else { break };
                // A router that cannot pass a packet on loses it.
                let _ = self.device.send(&packet);
            }
        }
    }

    fn has_packet(&self, wait: Duration) -> bool {
        let fd = self.device.as_fd();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let wait = Timespec::try_from(wait).expect("less than a second");
        poll(&mut fds, Some(&wait)).is_ok_and(|ready| ready > 0)
    }

    fn take(&mut self, packet: Vec<u8>, held: &mut VecDeque<(Instant, Vec<u8>)>) {
        let lost = self.schedule.between(1, 100) <= u64::from(self.weather.loss_percent);
        if lost || !self.weather.delay.is_zero() {
            self.shared.struck.fetch_add(1, Ordering::Relaxed);
        }
        if !lost && held.len() < HELD_MAX {
            held.push_back((Instant::now() + self.weather.delay, packet));
        }
    }
}
