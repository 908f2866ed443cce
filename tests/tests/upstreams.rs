//! Services that misbehave: what they send is bounded, judged and scrubbed before an agent sees it, and the record says
//! how it ended.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use accredit_tests::canary::{Canary, in_bytes};
use accredit_tests::harness::{Run, Setup, wait_for};
use accredit_tests::pki::Flaw;
use accredit_tests::raw::{After, Duplex, Head, RawUpstream};
use accredit_tests::tap::{Answer, Tap};
use accredit_tests::world::{OWNER, World};
use serde_json::Value;

static STAGE: Mutex<Weak<Stage>> = Mutex::new(Weak::new());

struct Stage {
    tap: Tap,
    bad: RawUpstream,
    canaries: Vec<Canary>,
    world: World,
}

fn stage() -> Arc<Stage> {
    let mut kept = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stage) = kept.upgrade() {
        return stage;
    }
    let world = World::start(Setup::default());
    world.enrol("shop-coder");
    let bad = RawUpstream::start(Some(Flaw::None), &["127.0.0.1"], misbehave).expect("an upstream");
    let key = world.add_upstream("bad", &bad, "https");
    let tap = Tap::start(&world.accredit, &Run::of("shop-coder", &["orders: *", "shop-git: *", "bad: *"]));
    let canaries = vec![Canary::new("the one key", world.raw_key()), Canary::new("the key of bad", &key)];
    let stage = Arc::new(Stage { tap, bad, canaries, world });
    *kept = Arc::downgrade(&stage);
    stage
}

/// What the service does wrong, by path.
fn misbehave(head: &Head, stream: &mut dyn Duplex) -> std::io::Result<After> {
    let length = head.values("content-length").first().and_then(|n| n.parse().ok()).unwrap_or(0);
    stream.read_exact(&mut vec![0; length])?;
    let key = head.values("x-api-key").concat();
    match head.path().as_str() {
        "/second-response" => {
            let body = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789{body}")?;
        }
        "/many-fields" => {
            write!(stream, "HTTP/1.1 200 OK\r\n")?;
            for n in 0..10_000 {
                write!(stream, "x-{n}: y\r\n")?;
            }
            write!(stream, "content-length: 0\r\n\r\n")?;
        }
        "/long-field" => {
            write!(stream, "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(1024 * 1024))?
        }
        "/not-http" => write!(stream, "SSH-2.0-OpenSSH_9.2\r\n\r\n")?,
        "/early" => write!(
            stream,
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )?,
        "/short" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")?;
            return Ok(After::Close);
        }
        "/reset" => return Ok(After::Reset),
        "/silent" => {
            stream.flush()?;
            std::thread::sleep(Duration::from_secs(2));
            return Ok(After::Close);
        }
        "/cookie" => {
            write!(stream, "HTTP/1.1 200 OK\r\nSet-Cookie: session=abcdef\r\nContent-Length: 2\r\n\r\nok")?
        }
        "/reason" => write!(stream, "HTTP/1.1 200 {key}\r\nContent-Length: 2\r\n\r\nok")?,
        "/trailer" => write!(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-key\r\n\r\n2\r\nok\r\n0\r\nx-key: {key}\r\n\r\n"
        )?,
        "/compressed" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok")?
        }
        _ => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?,
    }
    Ok(After::Keep)
}

impl Stage {
    fn ask(&self, resource: &str, line: &str) -> Option<Answer> {
        let (method, path) = line.split_once(' ').expect("method and path");
        let host = self.world.accredit.gateway;
        let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
        self.tap
            .send(format!("{method} /u/{resource}{path} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n").as_bytes())
    }

    /// The newest use at this path, once it is settled.
    #[track_caller]
    fn settled(&self, credential: &str, path: &str) -> Value {
        wait_for(|| {
            let uses = self.world.accredit.json(&["credential", "uses", credential, "--limit", "200"]);
            let found = uses.as_array().expect("a list").iter().find(|used| used["path"] == path).cloned();
            found.filter(|used| used["settled"].is_string())
        })
    }

    #[track_caller]
    fn clean(&self, answer: &Answer) {
        let bytes = [answer.head.as_bytes(), &answer.body].concat();
        assert_eq!(in_bytes(&self.canaries, &bytes, "answer"), [], "{}{}", answer.head, answer.text());
    }
}

// case: HTTP-15, EGR-13
#[test]
fn a_redirect_comes_back_scrubbed_and_is_not_followed() {
    let stage = stage();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a mode");
    let other = format!("https://{}/x", listener.local_addr().expect("an address"));
    for status in [301, 302, 303, 307, 308] {
        for to in [
            "https://elsewhere.example/landing",
            "/v1/orders/relative",
            "http://169.254.169.254/latest",
            other.as_str(),
        ] {
            let answer =
                stage.ask("orders", &format!("GET /v1/redirect?status={status}&to={to}")).expect("an answer");
            assert_eq!(answer.status, status);
            assert!(answer.values("location").iter().all(|value| value.starts_with(to)), "{}", answer.head);
            stage.clean(&answer);
        }
    }
    assert!(listener.accept().is_err(), "nobody followed");
    assert_eq!(stage.world.acted_on("/v1/orders/relative"), 0);
}

// case: HTTP-16
#[test]
fn a_second_response_that_nobody_asked_for_reaches_nobody() {
    let stage = stage();
    let answer = stage.ask("bad", "GET /second-response").expect("an answer");
    assert_eq!(answer.text(), "0123456789");
    for _ in 0..3 {
        let next = stage.ask("bad", "GET /ordinary").expect("an answer");
        assert_eq!(next.text(), "ok", "the next client gets its own answer");
    }
}

// case: HTTP-17
#[test]
fn an_answer_without_measure_becomes_one_of_ours() {
    let stage = stage();
    for path in ["/many-fields", "/long-field", "/not-http"] {
        let answer = stage.ask("bad", &format!("GET {path}")).expect("an answer");
        assert_eq!(answer.status, 502, "{path}: {}", answer.head);
        assert_eq!(answer.values("x-should-retry"), ["false"]);
        assert_eq!(stage.settled("bad-key", path)["settled"], "unknown", "{path}");
    }
    assert_eq!(stage.ask("bad", "GET /early").expect("an answer").text(), "ok");
}

// case: HTTP-19, AUD-12
#[test]
fn a_broken_exchange_is_unknown_and_is_not_repeated() {
    let stage = stage();
    let answer = stage.ask("bad", "POST /reset").expect("an answer");
    assert_eq!(answer.status, 502, "{}", answer.head);
    let used = stage.settled("bad-key", "/reset");
    assert_eq!(used["settled"], "unknown", "{used}");
    assert_eq!(stage.bad.heads_of("/reset").len(), 1, "one attempt, no more");
    // An answer that ends too early: the agent's connection ends too, so that it is not taken for whole.
    assert!(stage.ask("bad", "GET /short").is_none());
    assert_eq!(stage.settled("bad-key", "/short")["settled"], "unknown");
    // Each has exactly one decision and one outcome.
    let task = stage.tap.task();
    let entries = |kind: &str| {
        let entries =
            stage.world.accredit.json(&["audit", "search", "--task", task, "--kind", kind, "--limit", "500"]);
        entries.as_array().expect("a list").clone()
    };
    let id = used["decision"].as_str().expect("an id");
    for kind in ["action.decided", "action.settled"] {
        let about = entries(kind).into_iter().filter(|entry| entry.to_string().contains(id)).count();
        assert_eq!(about, 1, "{kind} of {id}");
    }
}

// case: HTTP-18
#[test]
fn a_service_that_goes_away_without_an_answer_is_no_answer() {
    let stage = stage();
    let answer = stage.ask("bad", "GET /silent").expect("an answer");
    assert_eq!(answer.status, 502, "{}", answer.head);
    assert_eq!(stage.settled("bad-key", "/silent")["settled"], "unknown");
}

// case: AUD-12
#[test]
fn an_agent_that_leaves_in_the_middle_of_an_answer_is_in_the_record() {
    let stage = stage();
    let mut stream = stage.tap.connect();
    let host = stage.world.accredit.gateway;
    write!(stream, "GET /u/orders/v1/download?mb=500 HTTP/1.1\r\nHost: {host}\r\n\r\n")
        .expect("the tap takes bytes");
    stream.read_exact(&mut [0; 100_000]).expect("a beginning");
    drop(stream);
    let used = stage.settled("orders-key", "/v1/download");
    assert_eq!((used["settled"].as_str(), used["status"].as_u64()), (Some("unknown"), Some(200)), "{used}");
}

// case: EGR-12
#[test]
fn a_certificate_that_does_not_fit_ends_before_any_request() {
    let stage = stage();
    let answer = |_: &Head, stream: &mut dyn Duplex| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(After::Keep)
    };
    for (name, flaw, names) in [
        ("cert-expired", Flaw::Expired, ["127.0.0.1"]),
        ("cert-self-signed", Flaw::SelfSigned, ["127.0.0.1"]),
        ("cert-other-name", Flaw::None, ["other.example"]),
    ] {
        let upstream = RawUpstream::start(Some(flaw), &names, answer).expect("an upstream");
        stage.world.add_upstream(name, &upstream, "https");
        refuses_certificate(&stage, name, &upstream);
    }
    // An authority that is not the resource's: the system's do not know the throw-away one either.
    let upstream = RawUpstream::start(Some(Flaw::None), &["127.0.0.1"], answer).expect("an upstream");
    let endpoint = format!("https://{}", upstream.address);
    let name = "cert-unknown-ca";
    stage
        .world
        .accredit
        .cli(&["resource", "add", name, "--owner", OWNER, "--endpoint", &endpoint, "--private-network"])
        .ok();
    refuses_certificate(&stage, name, &upstream);
}

#[track_caller]
fn refuses_certificate(stage: &Stage, name: &str, upstream: &RawUpstream) {
    let accredit = &stage.world.accredit;
    let tap = Tap::start(accredit, &Run::of("shop-coder", &[&format!("{name}: *")]));
    let request = format!("GET /u/{name}/x HTTP/1.1\r\nHost: {}\r\n\r\n", accredit.gateway);
    let answer = tap.send(request.as_bytes()).expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (502, "tls_failed"), "{name}: {}", answer.text());
    assert_eq!(upstream.heads().len(), 0, "{name}: no byte of a request was sent");
    assert!(upstream.connections() >= 1, "{name}: it was tried");
}

// case: SEC-06, SEC-07
#[test]
fn a_key_that_comes_back_is_taken_out_however_it_is_cut() {
    let stage = stage();
    for query in
        ["piece=1", "piece=3", "piece=7", "piece=64", "piece=100000", "header=1", "as=events&piece=5"]
    {
        let answer =
            stage.ask("orders", &format!("GET /v1/echo?{query}&probe={}", query.len())).expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("x-api-key"), "the service did echo: {}", answer.text());
        stage.clean(&answer);
    }
    let metrics = accredit_tests::harness::http_get(stage.world.accredit.listen, "/metrics").expect("a page");
    assert!(String::from_utf8_lossy(&metrics.1).contains("scrubbed"), "what was taken out is counted");
}

// case: SEC-08
#[test]
fn a_key_that_comes_back_as_basic_is_taken_out() {
    let stage = stage();
    for piece in [1, 5, 1000] {
        let answer =
            stage.ask("shop-git", &format!("GET /v1/echo?header=1&piece={piece}")).expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("authorization"), "the service did echo: {}", answer.text());
        stage.clean(&answer);
    }
}

// case: SEC-06, SEC-18
#[test]
fn nothing_of_a_key_comes_back_by_a_side_door() {
    let stage = stage();
    for path in ["/reason", "/trailer", "/cookie", "/compressed"] {
        let Some(answer) = stage.ask("bad", &format!("GET {path}")) else { continue };
        stage.clean(&answer);
        assert_eq!(answer.values("set-cookie"), Vec::<&str>::new(), "{path}");
    }
    assert_eq!(
        stage.ask("bad", "GET /compressed").map(|a| a.status),
        Some(502),
        "what cannot be looked into is not passed on"
    );
}

#[test]
fn a_long_answer_streams_and_does_not_wait_for_its_end() {
    let stage = stage();
    let mut stream = stage.tap.connect();
    let host = stage.world.accredit.gateway;
    let asked = Instant::now();
    write!(stream, "GET /u/orders/v1/stream?n=20 HTTP/1.1\r\nHost: {host}\r\n\r\n")
        .expect("the tap takes bytes");
    let mut first = [0; 512];
    let got = stream.read(&mut first).expect("a first piece");
    assert!(
        got > 0 && asked.elapsed() < Duration::from_secs(1),
        "the first piece took {:?}",
        asked.elapsed()
    );
}
