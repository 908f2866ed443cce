//! Two tenants on one PostgreSQL, each with a server of its own: one that asks for as much as it can get does not take the
//! other one's place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use accredit_tests::agent::Agent;
use accredit_tests::drill::{BOUNDARY, PATH, TTL_S};
use accredit_tests::harness::{Setup, shared_database};
use accredit_tests::inject::say;
use accredit_tests::world::World;

/// What clients call both servers: the installation has one name.
const URLS: [&str; 2] = ["https://accredit.test", "https://gateway.accredit.test"];
/// Clients of the noisy tenant that use tasks, and that start them, as fast as they are answered: ten times those of the
/// quiet one and more.
const NOISY: (usize, usize) = (24, 8);
/// What the quiet tenant does, before and during.
const ROUNDS: usize = 15;
/// How long a use, or a start with what it takes, may be for the quiet tenant. All clients, both servers, the service and
/// the database share the processors of one machine here; what each of them takes of the other is in `benches/`.
const EACH_MAX: Duration = Duration::from_secs(2);

/// The slowest start and the slowest use, but for one in ten.
fn measure(agent: &Agent) -> (Duration, Duration) {
    let (mut starts, mut uses) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let asked = Instant::now();
        let task = agent.start(&BOUNDARY, TTL_S).expect("a task");
        starts.push(asked.elapsed());
        let mut open = agent.attach(&task).expect("a connection");
        for _ in 0..4 {
            let asked = Instant::now();
            let (_, answer) = open.get("orders", PATH).expect("an answer");
            assert!(!answer.is_ours, "the quiet tenant is never turned away: {answer:?}");
            uses.push(asked.elapsed());
        }
    }
    let p90 = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() * 9 / 10]
    };
    (p90(&mut starts), p90(&mut uses))
}

/// Does something again and again until it is over.
fn again(
    over: &Arc<AtomicBool>,
    done: &Arc<AtomicU64>,
    mut act: impl FnMut() + Send + 'static,
) -> JoinHandle<()> {
    let (over, done) = (Arc::clone(over), Arc::clone(done));
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            act();
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

// case: TEN-06
#[test]
fn a_noisy_tenant_leaves_the_other_its_place() {
    let database = shared_database();
    let setup = |config: String| {
        let urls = Some((URLS[0].to_owned(), URLS[1].to_owned()));
        Setup { config, urls, shared: Some(Arc::clone(&database)), ..Setup::default() }
    };
    let quiet = World::start(setup(String::new()));
    let seal = quiet.accredit.state().join("seal.key");
    let seal = format!("tenant = \"noisy\"\nseal = {{ kind = \"file\", path = \"{}\" }}", seal.display());
    let noisy = World::start(setup(seal));
    let (calm, busy) = (Agent::register(&quiet.accredit, "calm"), Agent::register(&noisy.accredit, "busy"));
    measure(&calm);
    let before = measure(&calm);
    let (over, used, started) = (Arc::<AtomicBool>::default(), Arc::default(), Arc::default());
    let busy = Arc::new(busy);
    let mut crowd = Vec::new();
    for _ in 0..NOISY.0 {
        let task = busy.start(&BOUNDARY, TTL_S).expect("a task");
        let mut open = busy.attach(&task).expect("a connection");
        crowd.push(again(&over, &used, move || {
            drop(open.get("orders", PATH).expect("an answer, if only to wait"))
        }));
    }
    for _ in 0..NOISY.1 {
        let busy = Arc::clone(&busy);
        crowd.push(again(&over, &started, move || drop(busy.start(&BOUNDARY, TTL_S).expect("an answer"))));
    }
    let during = measure(&calm);
    over.store(true, Ordering::Relaxed);
    for one in crowd {
        one.join().expect("it is answered as well");
    }
    let (used, started) = (used.load(Ordering::Relaxed), started.load(Ordering::Relaxed));
    say(&format!(
        "  beside {used} uses and {started} starts of another tenant: a start {:?} (else {:?}), a use {:?} (else {:?})",
        during.0, before.0, during.1, before.1
    ));
    let own = 4 * ROUNDS as u64;
    assert!(used > 3 * own, "the other one made noise: {used}");
    assert!(during.0 <= EACH_MAX && during.1 <= EACH_MAX, "{during:?} at nine of ten, {before:?} else");
}
