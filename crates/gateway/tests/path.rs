//! The one path through a real authority, store, vault and gateway, to an upstream on loopback.

mod common;

use std::time::{Duration, Instant};

use accredit_authority::revoke::Target;
use accredit_authority::settings::TOKEN_TTL_S;
use accredit_core::id::CredentialName;
use accredit_core::resource::Mode;
use accredit_identity::token::SKEW_MS;
use common::{KEY, Upstream, read_head, read_until_silent, world};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";

fn get(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: mine\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

// case: AUD-12, HTTP-11, SEC-05
#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_call_is_recorded_injected_sent_and_settled() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: GET *"]).await;
    let answer = world.raw(&run, &get(&world.host(), "/v1/orders?x=1")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("ok"), "{answer}");
    assert!(answer.contains("accredit-decision: d_"), "{answer}");
    let sent = world.upstream.text();
    assert!(sent.starts_with("GET /v1/orders?x=1 HTTP/1.1\r\n"), "{sent}");
    assert_eq!(sent.matches(KEY).count(), 1, "{sent}");
    assert!(!sent.contains("mine") && !sent.to_ascii_lowercase().contains("dpop"), "{sent}");
    let decided = world.entries_at_least("action.decided", 1).await;
    let settled = world.entries_at_least("action.settled", 1).await;
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0]["outcome"], "allow");
    assert_eq!(decided[0]["path"], "/v1/orders");
    assert!(sent.contains(decided[0]["traceparent"].as_str().expect("a trace")), "{sent}");
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0]["decision"], decided[0]["decision"]);
    assert_eq!(settled[0]["outcome"], "done");
    assert_eq!(settled[0]["status"], 200);
    assert_eq!(settled[0]["response_bytes"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outside_the_boundary_is_refused_with_a_next_step_and_nothing_is_sent() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: GET /v1/**"]).await;
    let answer = world.raw(&run, &get(&world.host(), "/admin")).await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden"), "{answer}");
    assert!(answer.contains("outside_boundary") && answer.contains("next_step"), "{answer}");
    assert!(answer.contains("x-should-retry: false"), "{answer}");
    assert_eq!(world.upstream.text(), "");
    assert_eq!(world.entries("action.decided").await[0]["code"], "outside_boundary");
}

// case: REV-12
#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_stays_revoked_whatever_is_forgotten_meanwhile() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let (revoked, other) = (world.task(&["sample: *"]).await, world.task(&["sample: *"]).await);
    let mut open = world.attached(&revoked).await;
    let authority = &world.authority;
    let task = revoked.started.task.id.clone();
    authority.revoke("test", Target::Task(task), None).await.expect("revoked");
    let credential = CredentialName::parse("sample-key").expect("a name");
    authority.revoke("test", Target::Credential(credential), None).await.expect("revoked");
    let life_ms = i64::try_from(TOKEN_TTL_S).expect("minutes") * 1_000 + SKEW_MS;
    let ten_years_ms = 10 * 366 * 24 * 3_600_000;
    for later_ms in [0, life_ms - 1, life_ms, life_ms + 1, ten_years_ms] {
        authority.housekeep(authority.now().plus_ms(later_ms)).await.expect("housekeeping");
        // The tokens are good for minutes yet: what refuses is the memory of the revocation.
        let answer = world.raw(&revoked, &get(&world.host(), "/")).await;
        assert!(answer.contains("task_ended"), "after {later_ms} ms: {answer}");
        let answer = world.raw(&other, &get(&world.host(), "/")).await;
        assert!(answer.contains("credential_revoked"), "after {later_ms} ms: {answer}");
    }
    open.write_all(&get(&world.host(), "/")).await.expect("sent");
    let answer = read_until_silent(&mut open).await;
    assert!(answer.contains("task_ended"), "on a connection from before: {answer}");
    assert_eq!(world.upstream.text(), "");
}

/// However fast proofs come, those that have expired are gone after one turn.
#[tokio::test(flavor = "multi_thread")]
async fn proofs_of_the_past_do_not_pile_up() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let now = world.authority.now();
    let use_all = async || {
        let change = world.authority.store().change(move |tx| {
            let mut fresh = 0;
            for n in 0..2_500_u32 {
                let digest = accredit_core::digest::Digest::of(&n.to_be_bytes());
                fresh += u32::from(tx.use_once("test", &digest, now)?);
            }
            Ok::<_, accredit_store::StoreError>(fresh)
        });
        change.await.expect("used")
    };
    assert_eq!((use_all().await, use_all().await), (2_500, 0));
    world.authority.housekeep(now.plus_ms(1)).await.expect("housekeeping");
    assert_eq!(use_all().await, 2_500, "nothing of it is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_an_unregistered_host_does_not_leave() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: *"]).await;
    let answer = world.raw(&run, &get("nobody.example", "/")).await;
    assert!(answer.contains("unknown_host"), "{answer}");
}

// case: EGR-05
#[tokio::test(flavor = "multi_thread")]
async fn no_tunnel_leads_to_an_unregistered_address() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: *"]).await;
    for to in [
        "127.0.0.1:22",
        "10.0.0.5:443",
        "169.254.169.254:443",
        "[::1]:443",
        "localhost:443",
        &world.gateway.to_string(),
    ] {
        let answer = world.raw(&run, format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{to}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_observed_goes_through_and_says_so_in_the_ledger() {
    let world = world(Upstream::fixed(OK).await, Mode::Observe).await;
    let run = world.task(&["sample: GET /v1/**"]).await;
    let answer = world.raw(&run, &get(&world.host(), "/admin")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let decided = world.entries("action.decided").await;
    assert_eq!((&decided[0]["outcome"], &decided[0]["enforced"]), (&"deny".into(), &false.into()));
}

// case: SEC-07
#[tokio::test(flavor = "multi_thread")]
async fn a_reflected_secret_is_overwritten_across_pieces() {
    let upstream = Upstream::start(|mut stream, _| async move {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let (first, second) = KEY.split_at(11);
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-echo: ";
        let _ = stream.write_all(&[head, KEY.as_bytes(), b"\r\n\r\n"].concat()).await;
        for piece in [first, second, " after"] {
            let _ = stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await;
            let _ = stream.flush().await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
    })
    .await;
    let world = world(upstream, Mode::Enforce).await;
    let run = world.task(&["sample: *"]).await;
    let answer = world.raw(&run, &get(&world.host(), "/echo")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains(KEY) && !answer.contains(&KEY[..11]), "{answer}");
    assert!(answer.contains(" after"), "{answer}");
    assert_eq!(world.entries_at_least("action.settled", 1).await[0]["scrubbed"], 2);
}

// case: REV-01, REV-02
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_cut_when_its_task_is_revoked_and_nothing_follows() {
    let upstream = Upstream::start(|mut stream, _| async move {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
        while stream.write_all(b"data: tick\n\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let world = world(upstream, Mode::Enforce).await;
    let run = world.task(&["sample: *"]).await;
    let mut stream = world.attached(&run).await;
    let host = world.host();
    stream.write_all(&get(&host, "/stream")).await.expect("sent");
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
    let started = Instant::now();
    let report = world
        .authority
        .revoke("test", Target::Task(run.started.task.id.clone()), None)
        .await
        .expect("revoked");
    let took = started.elapsed();
    assert_eq!((report.tasks_ended.len(), report.cut, report.pending), (1, 1, 0));
    assert!(took < Duration::from_secs(1), "{took:?}");
    let rest = read_until_silent(&mut stream).await;
    assert!(!rest.ends_with("0\r\n\r\n"), "a cut stream must not look complete");
    assert_eq!(world.entries_at_least("action.settled", 1).await[0]["outcome"], "cut");
    let again = world.attached(&run).await;
    drop(again);
    let answer = world.raw(&run, &get(&host, "/v1")).await;
    assert!(answer.contains("task_ended"), "{answer}");
    // Revoking again is no error and changes nothing. case: REV-07
    let report = world
        .authority
        .revoke("test", Target::Task(run.started.task.id.clone()), None)
        .await
        .expect("idempotent");
    assert_eq!((report.tasks_ended.len(), report.cut), (0, 0));
}

// case: HTTP-19
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_exchange_is_unknown_and_not_repeated() {
    let upstream = Upstream::start(|mut stream, got| async move {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await.unwrap_or(0);
        got.lock().expect("no panic while held").extend_from_slice(&buffer[..n]);
    })
    .await;
    let world = world(upstream, Mode::Enforce).await;
    let run = world.task(&["sample: *"]).await;
    let host = world.host();
    let post = format!("POST http://{host}/pay HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc");
    let answer = world.raw(&run, post.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(world.upstream.text().matches("POST /pay").count(), 1);
    let settled = world.entries_at_least("action.settled", 1).await;
    assert_eq!(settled[0]["outcome"], "unknown");
}

// case: HTTP-01, HTTP-02, HTTP-05, HTTP-09, EGR-01, EGR-02, EGR-15
#[tokio::test(flavor = "multi_thread")]
async fn what_has_two_readings_is_refused_and_nothing_is_sent() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: *"]).await;
    let host = world.host();
    let bad = [
        format!(
            "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!(
            "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"
        ),
        format!("GET http://{host}/ HTTP/1.1\nHost: {host}\n\n"),
        format!("GET http://{host}/ HTTP/1.1\r\nHost: other.example\r\n\r\n"),
        format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n"),
        format!("GET http://user:pass@{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET http://{host}/a/../b HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ];
    for bytes in bad {
        let answer = world.raw(&run, bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{bytes}\n{answer}");
    }
    assert_eq!(world.upstream.text(), "");
    assert!(world.entries("action.decided").await.is_empty());
}

// case: HTTP-09
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_decided_one_by_one() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: GET /v1/**"]).await;
    let host = world.host();
    let two = format!(
        "GET http://{host}/v1/a HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nbodyGET http://{host}/admin HTTP/1.1\r\nHost: {host}\r\n\r\n"
    );
    let answer = world.raw(&run, two.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 403").count(), 1, "{answer}");
    assert_eq!(world.entries("action.decided").await.len(), 2);
}

// case: TOK-10, TOK-12
#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_its_proof_opens_nothing() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: *"]).await;
    let (host, token) = (world.host(), run.started.token.token.expose().to_owned());
    for auth in [
        format!("Proxy-Authorization: Bearer {token}"),
        format!("Proxy-Authorization: DPoP {token}"),
        "X: y".to_owned(),
    ] {
        let mut stream = tokio::net::TcpStream::connect(world.gateway).await.expect("the gateway listens");
        let request =
            format!("GET http://{host}/?access_token={token} HTTP/1.1\r\nHost: {host}\r\n{auth}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 407"), "{answer}");
    }
    assert_eq!(world.upstream.text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_calls_holds_under_concurrency() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: GET * calls<=5"]).await;
    let host = world.host();
    let calls =
        (0..20).map(|_| async { world.raw(&run, &get(&host, "/v1")).await.starts_with("HTTP/1.1 200") });
    let passed = futures_util::future::join_all(calls).await.into_iter().filter(|ok| *ok).count();
    assert_eq!(passed, 5);
    assert_eq!(world.upstream.text().matches("GET /v1").count(), 5);
}

// case: SEC-13
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_changes_under_load_is_used_one_version_at_a_time_and_the_ledger_says_which() {
    const NEXT: &str = "sk-sample-next-0d2c4b6a8e9f7a5b3c1d";
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: GET *"]).await;
    let host = world.host();
    let calls = (0..60).map(|n| {
        let (world, run, host) = (&world, &run, &host);
        async move {
            tokio::time::sleep(Duration::from_millis(n * 5)).await;
            world.raw(run, &get(host, &format!("/v1/{n}"))).await
        }
    });
    let change = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        world.set_value(NEXT, 2).await;
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(calls), change);
    assert!(answers.iter().all(|a| a.starts_with("HTTP/1.1 200")));
    let sent = world.upstream.text();
    let mut versions = [0, 0];
    for entry in world.entries("action.decided").await {
        let trace = entry["traceparent"].as_str().expect("a trace");
        let request = sent.split("\r\n\r\n").find(|r| r.contains(trace)).expect("each allowed call was sent");
        let version = entry["secret_version"].as_u64().expect("a version");
        let (used, other) = if version == 1 { (KEY, NEXT) } else { (NEXT, KEY) };
        assert!(request.contains(used) && !request.contains(other), "version {version}: {request}");
        versions[usize::from(version == 2)] += 1;
    }
    assert!(versions[0] > 0 && versions[1] > 0, "both versions must have been used: {versions:?}");
}

// case: POL-04
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_set_that_is_damaged_lets_nothing_through() {
    let world = world(Upstream::fixed(OK).await, Mode::Observe).await;
    let run = world.task(&["sample: *"]).await;
    world.damage_policy().await;
    let answer = world.raw(&run, &get(&world.host(), "/v1")).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(world.upstream.text(), "");
}

// case: HTTP-20
#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_end_are_closed_while_others_are_served() {
    let world = world(Upstream::fixed(OK).await, Mode::Enforce).await;
    let run = world.task(&["sample: *"]).await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = tokio::net::TcpStream::connect(world.gateway).await.expect("the gateway listens");
        stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.expect("sent");
        slow.push(stream);
    }
    let started = Instant::now();
    assert!(world.raw(&run, &get(&world.host(), "/v1")).await.starts_with("HTTP/1.1 200"));
    assert!(started.elapsed() < Duration::from_secs(3), "others wait for slow heads");
    for mut stream in slow {
        let mut all = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await;
        assert!(closed.is_ok(), "a head that never ends must be closed");
    }
}

// case: TOK-08, TOK-09
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_installation_opens_nothing() {
    let (here, elsewhere) = (
        world(Upstream::fixed(OK).await, Mode::Enforce).await,
        world(Upstream::fixed(OK).await, Mode::Enforce).await,
    );
    let run = elsewhere.task(&["sample: *"]).await;
    let answer = here.attach_answer(&run).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

// case: HTTP-18
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_leaves_while_the_upstream_is_silent_frees_its_place() {
    let upstream = Upstream::start(|mut stream, _| async move {
        let mut buffer = [0; 4096];
        while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
    })
    .await;
    let world = world(upstream, Mode::Enforce).await;
    let run = world.task(&["sample: *"]).await;
    let mut stream = world.attached(&run).await;
    stream.write_all(&get(&world.host(), "/silent")).await.expect("sent");
    world.entries_at_least("action.decided", 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    let settled = world.entries_at_least("action.settled", 1).await;
    assert_eq!((&settled[0]["outcome"], &settled[0]["cause"]), (&"unknown".into(), &"agent_gone".into()));
    assert_eq!(world.authority.live().count(), 0);
}
