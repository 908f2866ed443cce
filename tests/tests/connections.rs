//! More connections than anybody needs: they cost little, others do not notice, and one too many is told so.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use accredit_tests::harness::{Run, Setup, wait_for};
use accredit_tests::tap::{Tap, read_answer};
use accredit_tests::world::World;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// Connections that the gateway takes, but for those of the clients that go on meanwhile.
const IDLE: usize = 9_900;
/// How long it may take until they are accepted: a thousand in two seconds, in a build without optimization.
const OPEN_TIME_MAX: Duration = Duration::from_secs(20);
/// What more is tried.
const TOO_MANY: usize = 300;
/// How soon one too many is told so.
const TELL_TIME_MAX: Duration = Duration::from_millis(200);
/// Memory of one idle connection, in bytes: its buffers, its task, its descriptor.
const BYTES_EACH_MAX: u64 = 32 * 1024;
/// Requests that are measured before and during.
const REQUESTS: usize = 60;
/// Descriptors that are left to a server that has few.
const FEW: u64 = 40;

/// This process opens as many files as the server.
fn raise_files_max() {
    let allowed = getrlimit(Resource::Nofile);
    let needed = (IDLE + TOO_MANY) as u64 + 500;
    assert!(allowed.maximum.is_none_or(|max| max >= needed), "`ulimit -Hn` is {needed} or more");
    setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, ..allowed })
        .expect("within what is allowed");
}

fn rss_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
}

fn descriptors(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count() as u64
}

/// The slowest of the quicker nine tenths: what a loaded test machine adds to single requests is not the gateway's.
fn p90(stream: &mut UnixStream, host: &str) -> Duration {
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|_| {
            let asked = Instant::now();
            write!(stream, "GET /u/orders/v1/orders/17 HTTP/1.1\r\nHost: {host}\r\n\r\n")
                .expect("the tap takes bytes");
            assert_eq!(read_answer(stream).expect("an answer").status, 200);
            asked.elapsed()
        })
        .collect();
    times.sort();
    times[REQUESTS * 9 / 10]
}

// case: FLT-11
#[test]
fn ten_thousand_idle_connections_cost_little_and_one_too_many_is_told_so() {
    raise_files_max();
    let world = World::start(Setup::default());
    world.enrol("shop-coder");
    let tap = Tap::start(&world.accredit, &Run::of("shop-coder", &["orders: *"]));
    let mut open = tap.connect();
    let (pid, gateway) = (world.accredit.pid(), world.accredit.gateway);
    let host = gateway.to_string();
    p90(&mut open, &host);
    let (before, bytes_before, open_before) = (p90(&mut open, &host), rss_bytes(pid), descriptors(pid));
    let begun = Instant::now();
    let mut idle: Vec<TcpStream> =
        (0..IDLE).map(|_| TcpStream::connect(gateway).expect("a connection")).collect();
    wait_for(|| (descriptors(pid) >= IDLE as u64).then_some(()));
    let took = begun.elapsed();
    assert!(took < OPEN_TIME_MAX, "it took {took:?} until they were accepted");
    let (during, bytes_during) = (p90(&mut open, &host), rss_bytes(pid));
    let each = bytes_during.saturating_sub(bytes_before) / IDLE as u64;
    assert!(each <= BYTES_EACH_MAX, "an idle connection takes {each} bytes");
    let allowed = before * 2 + Duration::from_millis(20);
    assert!(
        during <= allowed,
        "a request took {before:?} before and {during:?} beside {IDLE} idle connections"
    );
    let mut told = 0;
    for _ in 0..TOO_MANY {
        let mut more = TcpStream::connect(gateway).expect("a connection");
        more.set_read_timeout(Some(TELL_TIME_MAX)).expect("a timeout");
        // It is answered before it has asked, or waits to be asked.
        let mut answer = [0; 4_096];
        match more.read(&mut answer) {
            Ok(n) if n > 0 => {
                let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                assert!(
                    answer.contains("retry-after: 1") && answer.contains("too_many_connections"),
                    "{answer}"
                );
                told += 1;
            }
            _ => idle.push(more),
        }
    }
    assert!(told > TOO_MANY / 2, "{told} were told that there are too many");
    assert!(descriptors(pid) <= open_before + (IDLE + TOO_MANY) as u64, "what is refused is closed");
    assert!(p90(&mut open, &host) <= allowed, "who is connected goes on");
    drop(idle);
    wait_for(|| (descriptors(pid) < open_before + 100).then_some(()));
    let mut stream = TcpStream::connect(gateway).expect("a connection");
    write!(stream, "GET /u/orders/v1/orders/17 HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("it takes bytes");
    assert_eq!(read_answer(&mut stream).expect("an answer").status, 401, "it is asked who it is");
}

// case: FLT-14
#[test]
fn a_server_without_descriptors_pauses_and_goes_on_when_it_has_some() {
    let world = World::start(Setup::default());
    world.enrol("shop-coder");
    let tap = Tap::start(&world.accredit, &Run::of("shop-coder", &["orders: *"]));
    let mut open = tap.connect();
    let (pid, gateway) = (world.accredit.pid(), world.accredit.gateway);
    let host = gateway.to_string();
    p90(&mut open, &host);
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let few = |current| prlimit(process, Resource::Nofile, Rlimit { current, maximum: Some(20_000) });
    let before = few(Some(descriptors(pid) + FEW)).expect("a limit");
    // The kernel takes them; the server has room for some.
    let crowd: Vec<TcpStream> = (0..4 * FEW)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway).expect("a connection");
            write!(stream, "GET /u/orders/v1/orders/17 HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("bytes");
            stream
        })
        .collect();
    wait_for(|| (world.accredit.log().contains("could not be accepted")).then_some(()));
    assert!(!world.accredit.log().contains("panicked"), "it pauses");
    drop(crowd);
    wait_for(|| (world.accredit.is_ready()).then_some(()));
    p90(&mut tap.connect(), &host);
    few(before.current).expect("a limit");
    p90(&mut open, &host);
}
