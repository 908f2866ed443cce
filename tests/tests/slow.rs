//! Clients that take their time: they are closed at a deadline, and those that work do not notice.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use accredit_tests::harness::{Run, Setup};
use accredit_tests::tap::{Tap, read_answer};
use accredit_tests::world::World;

/// Half-open heads at once; a hundredth of what a real attack opens, within what a test machine has.
const SLOW: usize = 500;
/// The gateway's bound for a head, and a little for the machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(14);
/// Requests that are measured before and during.
const REQUESTS: usize = 60;

/// The slowest of the quicker nine tenths: what a loaded test machine adds to single requests is not the gateway's.
fn p90(tap: &Tap, host: &str) -> Duration {
    let mut stream = tap.connect();
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|_| {
            let asked = Instant::now();
            write!(stream, "GET /u/orders/v1/orders/17 HTTP/1.1\r\nHost: {host}\r\n\r\n")
                .expect("the tap takes bytes");
            assert_eq!(read_answer(&mut stream).expect("an answer").status, 200);
            asked.elapsed()
        })
        .collect();
    times.sort();
    times[REQUESTS * 9 / 10]
}

// case: HTTP-20
#[test]
fn slow_heads_and_bodies_are_closed_and_others_do_not_wait() {
    let world = World::start(Setup::default());
    world.enrol("shop-coder");
    let tap = Tap::start(&world.accredit, &Run::of("shop-coder", &["orders: *"]));
    let host = world.accredit.gateway.to_string();
    p90(&tap, &host);
    let before = p90(&tap, &host);
    let began = Instant::now();
    let mut slow: Vec<TcpStream> = (0..SLOW)
        .map(|_| {
            let mut stream = TcpStream::connect(world.accredit.gateway).expect("a connection");
            write!(stream, "GET /u/orders/v1/orders/slow HTTP/1.1\r\nHost: {host}\r\nX-Slow: ")
                .expect("a beginning");
            stream
        })
        .collect();
    let during = p90(&tap, &host);
    let allowed = before * 2 + Duration::from_millis(20);
    assert!(during <= allowed, "a request took {before:?} before and {during:?} beside {SLOW} slow ones");
    for stream in &mut slow {
        // A byte now and then does not buy time.
        let _ = stream.write_all(b"x");
    }
    for stream in &mut slow {
        let left =
            (began + CLOSED_WITHIN).saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).expect("a timeout");
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(end.is_ok(), "a slow head was still open after {:?}: {end:?}", began.elapsed());
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(world.acted_on("/v1/orders/slow"), 0);
    assert!(p90(&tap, &host) <= allowed, "it goes on as before");
}
