//! Requests that no client would send, byte by byte, into the real gateway from inside a task: each has one reading or
//! is refused, and nothing of what is refused reaches a service.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, Weak};

use accredit_tests::harness::{Run, Setup, wait_for};
use accredit_tests::pki::Flaw;
use accredit_tests::raw::{After, Head, RawUpstream};
use accredit_tests::tap::{Answer, Tap, read_answer};
use accredit_tests::world::World;

static STAGE: Mutex<Weak<Stage>> = Mutex::new(Weak::new());

/// A world with a service that keeps the bytes of every request head.
struct Stage {
    tap: Tap,
    recorder: RawUpstream,
    key: String,
    world: World,
}

fn stage() -> Arc<Stage> {
    let mut kept = STAGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(stage) = kept.upgrade() {
        return stage;
    }
    let world = World::start(Setup::default());
    world.enrol("shop-coder");
    let recorder = RawUpstream::start(Some(Flaw::None), &["127.0.0.1"], |head: &Head, stream| {
        let length = head.values("content-length").first().and_then(|n| n.parse().ok()).unwrap_or(0);
        stream.read_exact(&mut vec![0; length])?;
        if head.values("transfer-encoding") == ["chunked"] {
            let mut body = Vec::new();
            let mut byte = [0];
            while !body.ends_with(b"0\r\n\r\n") {
                stream.read_exact(&mut byte)?;
                body.push(byte[0]);
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(After::Keep)
    });
    let recorder = recorder.expect("an upstream");
    let key = world.add_upstream("recorder", &recorder, "https");
    let tap = Tap::start(&world.accredit, &Run::of("shop-coder", &["orders: *", "recorder: *"]));
    let stage = Arc::new(Stage { tap, recorder, key, world });
    *kept = Arc::downgrade(&stage);
    stage
}

impl Stage {
    /// A request for the recorder in base-URL mode: `line` is method and path, `fields` end with CR LF each.
    fn request(&self, line: &str, fields: &str, body: &str) -> Vec<u8> {
        let (method, path) = line.split_once(' ').expect("method and path");
        let host = self.world.accredit.gateway;
        format!("{method} /u/recorder{path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n{body}").into_bytes()
    }

    /// Sends bytes that must not be understood: an error and the end of the connection, or the end alone; and no
    /// request at the recorder.
    #[track_caller]
    fn refuses(&self, path: &str, bytes: &[u8]) {
        let shown = String::from_utf8_lossy(bytes).into_owned();
        let mut stream = self.tap.connect();
        let _ = stream.write_all(bytes);
        // A second request right behind: whoever reads the first in another way would take it for one.
        let _ = stream.write_all(&self.request("GET /smuggled", "", ""));
        if let Ok(answer) = read_answer(&mut stream) {
            assert!(
                matches!(answer.status, 400 | 411 | 413 | 414 | 431 | 501 | 505),
                "{}\n{shown}",
                answer.head
            );
        }
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        assert!(end.is_ok() && rest.is_empty(), "the connection goes on after\n{shown}\nwith {rest:?}");
        assert_eq!(self.recorder.heads_of(path).len(), 0, "it reached the service:\n{shown}");
        assert_eq!(
            self.recorder.heads_of("/smuggled").len(),
            0,
            "the second request reached the service:\n{shown}"
        );
    }

    #[track_caller]
    fn passes(&self, bytes: &[u8]) -> Answer {
        let answer = self.tap.send(bytes).expect("an answer");
        assert_eq!(
            answer.status,
            200,
            "{}{}\n{}",
            answer.head,
            answer.text(),
            String::from_utf8_lossy(bytes)
        );
        answer
    }

    #[track_caller]
    fn only_head(&self, path: &str) -> Head {
        let heads = self.recorder.heads_of(path);
        assert_eq!(heads.len(), 1, "one request for {path}");
        heads[0].clone()
    }
}

#[test]
fn an_ordinary_request_passes() {
    let stage = stage();
    stage.passes(&stage.request("GET /ordinary", "Accept: */*\r\n", ""));
    stage.passes(&stage.request("POST /ordinary", "Content-Length: 5\r\n", "hello"));
    stage.passes(&stage.request(
        "POST /ordinary",
        "Transfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ));
}

// case: HTTP-01, HTTP-02
#[test]
fn a_body_has_one_length_or_the_request_is_refused() {
    let stage = stage();
    let chunked = "0\r\n\r\n";
    let check =
        |fields: &str, body: &str| stage.refuses("/length", &stage.request("POST /length", fields, body));
    check("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunked);
    check("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunked);
    for length in [
        "5, 6",
        "+5",
        "-0",
        "0x5",
        "5 5",
        "005",
        "",
        "5;",
        "5,5",
        "18446744073709551621",
        "99999999999999999999",
    ] {
        check(&format!("Content-Length: {length}\r\n"), "hello");
    }
    check("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!");
}

// case: HTTP-03
#[test]
fn transfer_encoding_is_spelt_in_one_way_or_the_request_is_refused() {
    let stage = stage();
    let check = |field: &[u8]| {
        let mut bytes = stage.request("POST /encoding", "X: y", "");
        bytes.truncate(bytes.len() - 6);
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(b"\r\n\r\n0\r\n\r\n");
        stage.refuses("/encoding", &bytes);
    };
    for byte in [0x00, 0x01, 0x08, 0x0b, 0x0c, 0x1f, 0x7f, 0x80, 0xa0, 0xff] {
        check(&[b"Transfer-Encoding:", &[byte][..], b"chunked"].concat());
        check(&[b"Transfer-Encoding: chunked", &[byte][..]].concat());
        check(&[b"Transfer-Encoding", &[byte][..], b": chunked"].concat());
        check(&[&[byte][..], b"Transfer-Encoding: chunked"].concat());
    }
    for field in [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer_Encoding: chunked\r\nTransfer-Encoding: chunk",
    ] {
        check(field.as_bytes());
    }
}

// case: HTTP-04
#[test]
fn a_chunk_is_framed_in_one_way_or_the_request_does_not_complete() {
    let stage = stage();
    for chunk in [
        "5;\nhello\r\n",
        "5;\0ext\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        " 5\r\nhello\r\n",
        "5_0\r\nhello\r\n",
        "fffffffffffffffff\r\nhello\r\n",
        "5\nhello\n",
        "5\r\nhelloXX",
        "\r\n",
    ] {
        let mut stream = stage.tap.connect();
        let body = format!("{chunk}0\r\n\r\n");
        let _ = stream.write_all(&stage.request("POST /chunk", "Transfer-Encoding: chunked\r\n", &body));
        let _ = stream.write_all(&stage.request("GET /smuggled", "", ""));
        if let Ok(answer) = read_answer(&mut stream) {
            assert!(matches!(answer.status, 400 | 413 | 502), "{chunk:?}: {}", answer.head);
        }
        let mut rest = Vec::new();
        assert!(
            stream.read_to_end(&mut rest).is_ok() && rest.is_empty(),
            "{chunk:?}: the connection goes on"
        );
        assert_eq!(stage.recorder.heads_of("/smuggled").len(), 0, "{chunk:?}");
    }
}

// case: HTTP-05
#[test]
fn a_header_block_holds_no_odd_byte() {
    let stage = stage();
    let check = |bytes: Vec<u8>| stage.refuses("/field", &bytes);
    for fields in [
        "A: b\rC: d\r\n",
        "A: b\nC: d\r\n",
        "A: b\r\n folded\r\n",
        "A : b\r\n",
        "A: b\0c\r\n",
        "A(b: c\r\n",
        ": empty\r\n",
        "nothing\r\n",
        "A\u{e9}: b\r\n",
        " A: b\r\n",
        "A: b\u{1}\r\n",
    ] {
        check(stage.request("GET /field", fields, ""));
    }
    let ordinary = String::from_utf8(stage.request("GET /field", "", "")).expect("ASCII");
    for odd in [
        ordinary.replace("\r\n", "\n"),
        ordinary.replace("GET /u", "GET  /u"),
        ordinary.replace(" HTTP/1.1", " HTTP/1.1 "),
        ordinary.replace("HTTP/1.1", "HTTP/1.2"),
        ordinary.replace("HTTP/1.1", "http/1.1"),
        ordinary.replace("GET ", "G\tET "),
        format!("{}\r\n", ordinary.lines().next().expect("a line").replace(" HTTP/1.1", "")),
    ] {
        check(odd.into_bytes());
    }
    check(stage.request("GET /field", &format!("A: {}\r\n", "x".repeat(200_000)), ""));
    check(stage.request("GET /field", &"A: b\r\n".repeat(2_000), ""));
}

// case: HTTP-07
#[test]
fn an_http_1_0_request_is_never_chunked() {
    let stage = stage();
    let request = stage.request("POST /old", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n");
    let old = String::from_utf8(request).expect("ASCII").replace("HTTP/1.1", "HTTP/1.0");
    stage.refuses("/old", old.as_bytes());
}

// case: HTTP-08
#[test]
fn bytes_behind_an_upgrade_reach_nobody() {
    let stage = stage();
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n";
    let mut stream = stage.tap.connect();
    stream.write_all(&stage.request("GET /upgrade", fields, "")).expect("the tap takes bytes");
    let _ = stream.write_all(b"\x81\x05hello\x81\x05world");
    let answer = read_answer(&mut stream).expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (403, "protocol_not_carried"));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "), "{rest:?}");
    assert_eq!(stage.recorder.heads_of("/upgrade").len(), 0);
}

// case: HTTP-09
#[test]
fn each_request_on_a_connection_is_decided_for_itself() {
    let stage = stage();
    let inner = "GET /u/recorder/smuggled HTTP/1.1\r\n\r\n";
    let mut stream = stage.tap.connect();
    let first = stage.request("GET /first", &format!("Content-Length: {}\r\n", inner.len()), inner);
    let second = stage.request("GET /second", "", "");
    let third = stage.request("PATCH /third", "Content-Length: 0\r\n", "");
    stream.write_all(&[first, second, third].concat()).expect("the tap takes bytes");
    let statuses: Vec<u16> = (0..3).map(|_| read_answer(&mut stream).expect("an answer").status).collect();
    assert_eq!(statuses, [200, 200, 403], "the third is forbidden by policy, the others are not");
    stage.only_head("/first");
    stage.only_head("/second");
    assert_eq!(stage.recorder.heads_of("/smuggled").len() + stage.recorder.heads_of("/third").len(), 0);
}

// case: HTTP-10, HTTP-11, HTTP-12, SEC-05
#[test]
fn the_service_sees_one_credential_and_nothing_of_ours_or_the_clients() {
    let stage = stage();
    let mut count = 0;
    let mut check = |fields: &str| {
        count += 1;
        let path = format!("/credential/{count}");
        let answer = stage.tap.send(&stage.request(&format!("GET {path}"), fields, ""));
        let Some(answer) = answer.filter(|answer| answer.status == 200) else {
            // A near-copy of the injected field may be refused as a whole.
            return assert_eq!(stage.recorder.heads_of(&path).len(), 0);
        };
        let head = stage.only_head(&path);
        let text = String::from_utf8_lossy(&head.bytes).to_ascii_lowercase();
        assert_eq!(head.values("x-api-key"), std::slice::from_ref(&stage.key), "{fields}");
        for word in ["client-value", "dpop", "proxy-", "x_api_key", "accredit", "x-forwarded"] {
            assert!(!text.contains(word), "`{word}` in\n{text}");
        }
        assert!(head.values("connection").iter().all(|value| !value.contains("x-api-key")), "{text}");
        assert!(!answer.head.contains(&stage.key));
    };
    check("Connection: X-Api-Key\r\n");
    check("Connection: close, X-Api-Key\r\n");
    check("X-Api-Key: client-value\r\n");
    check("x-api-key: client-value\r\nX-API-KEY: client-value\r\n");
    check("Authorization: Bearer client-value\r\nCookie: a=client-value\r\n");
    check("Proxy-Authorization: Basic client-value\r\nProxy-Connection: keep-alive\r\n");
    check("X_Api_Key: client-value\r\n");
    check("x-api_key: client-value\r\n");
    check("DPoP: client-value\r\n");
}

// case: HTTP-13
#[test]
fn a_path_goes_out_as_it_was_decided_or_not_at_all() {
    let stage = stage();
    let mut passed = Vec::new();
    for path in [
        "//v1/x",
        "/v1/./x",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/%2E./admin",
        "/v1/%2Fadmin",
        "/v1\\..\\admin",
        "/v1/x#frag",
        "/%00",
        "/v1/%252e%252e/admin",
        "/v1/a%20b",
        "/v1/%zz",
        "/v1/caf\u{e9}",
        "/v1/x;y=1",
        "/v1/a?b=/../c",
    ] {
        let before = stage.recorder.heads().len();
        let answer = stage.tap.send(&stage.request(&format!("GET {path}"), "", ""));
        let sent = stage.recorder.heads().len() - before;
        match answer {
            Some(answer) if answer.status == 200 => {
                let head = stage.recorder.heads().last().expect("it was sent").clone();
                let target = head.request_line().split(' ').nth(1).expect("a target").to_owned();
                assert_eq!(target, path, "sent in other bytes than asked for");
                passed.push(path.split('?').next().unwrap_or(path).to_owned());
            }
            _ => assert_eq!(sent, 0, "{path} was refused and sent"),
        }
    }
    assert!(passed.contains(&"/v1/a%20b".to_owned()), "{passed:?}");
    for dangerous in ["/v1/../admin", "/v1/%2e%2e/admin", "/v1/%2Fadmin", "/%00"] {
        assert!(!passed.contains(&dangerous.to_owned()), "{dangerous}");
    }
    let uses = stage.world.accredit.json(&[
        "credential",
        "uses",
        "recorder-key",
        "--outcome",
        "allow",
        "--limit",
        "500",
    ]);
    let recorded: Vec<&str> =
        uses.as_array().expect("a list").iter().filter_map(|used| used["path"].as_str()).collect();
    // The record holds the decoded path; its digest covers the bytes.
    let decoded = |path: &String| path.replace("%20", " ");
    assert!(passed.iter().all(|path| recorded.contains(&decoded(path).as_str())), "{passed:?} {recorded:?}");
}

// case: EGR-01, EGR-02, EGR-15
#[test]
fn a_request_names_one_host_once() {
    let stage = stage();
    let at = stage.recorder.address;
    let gateway = stage.world.accredit.gateway;
    let host = |hosts: &str| format!("GET /u/recorder/host HTTP/1.1\r\n{hosts}\r\n").into_bytes();
    for hosts in [
        format!("Host: {gateway}\r\nHost: evil.example\r\n"),
        format!("Host: {gateway}, evil.example\r\n"),
        format!("Host: {gateway}@evil.example\r\n"),
        "Host: \r\n".to_owned(),
        format!("Host: {gateway}/path\r\n"),
        String::new(),
    ] {
        stage.refuses("/host", &host(&hosts));
    }
    for request in [
        format!("GET http://{at}/host HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        format!("GET https://{at}/host HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        format!("GET http://user:pass@{at}/host HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!("CONNECT {at} HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        format!("CONNECT user@{at} HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        "CONNECT http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
    ] {
        stage.refuses("/host", request.as_bytes());
    }
}

// case: EGR-04
#[test]
fn tunnel_server_name_and_inner_host_are_one_host() {
    let stage = stage();
    let at = stage.recorder.address;
    let authority = at.to_string();
    let mut tunnel = stage.tap.tunnel(&authority, "127.0.0.1").expect("a tunnel");
    write!(tunnel, "GET /tunnel HTTP/1.1\r\nHost: {at}\r\n\r\n").expect("the tunnel takes bytes");
    assert_eq!(read_answer(&mut tunnel).expect("an answer").status, 200);
    stage.only_head("/tunnel");
    assert!(stage.tap.tunnel(&authority, "evil.example").is_err(), "another server name in the tunnel");
    for request in [
        "GET /inner HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
        format!("GET /inner HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", at.port() ^ 1),
        "GET http://evil.example/inner HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n".to_owned(),
    ] {
        let mut tunnel = stage.tap.tunnel(&authority, "127.0.0.1").expect("a tunnel");
        tunnel.write_all(request.as_bytes()).expect("the tunnel takes bytes");
        if let Ok(answer) = read_answer(&mut tunnel) {
            assert!(matches!(answer.status, 400 | 403), "{request}: {}", answer.head);
        }
    }
    assert_eq!(stage.recorder.heads_of("/inner").len(), 0);
}

// case: EGR-05, EGR-06, EGR-10
#[test]
fn no_tunnel_leads_to_an_address_that_is_not_registered() {
    let stage = stage();
    let accredit = &stage.world.accredit;
    let port = stage.recorder.address.port();
    for to in [
        "127.0.0.1:22".to_owned(),
        "10.0.0.5:443".to_owned(),
        "169.254.169.254:80".to_owned(),
        "[::1]:443".to_owned(),
        accredit.gateway.to_string(),
        accredit.listen.to_string(),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
        format!("0177.0.0.1:{port}"),
        format!("127.1:{port}"),
        format!("0:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("localhost.:{port}"),
        format!("LOCALHOST:{port}"),
        "127.0.0.1:0".to_owned(),
        "127.0.0.1:65536".to_owned(),
        "127.0.0.1:".to_owned(),
        "127.0.0.1".to_owned(),
    ] {
        let answer = stage.tap.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes());
        let status = answer.map_or(400, |answer| answer.status);
        assert!(matches!(status, 400 | 403), "{to}: {status}");
    }
}

// case: EGR-05
#[test]
fn a_resource_cannot_be_the_authority_itself() {
    let stage = stage();
    let accredit = &stage.world.accredit;
    for (name, at) in [("own-gateway", accredit.gateway), ("own-control", accredit.listen)] {
        let endpoint = format!("http://{at}");
        let add = [
            "resource",
            "add",
            name,
            "--owner",
            "ana@acme.test",
            "--endpoint",
            &endpoint,
            "--private-network",
        ];
        if accredit.cli(&add).code != 0 {
            continue;
        }
        let run = Run::of("shop-coder", &[&format!("{name}: *")]);
        let tap = Tap::start(accredit, &run);
        let request = format!("GET /u/{name}/v1/health HTTP/1.1\r\nHost: {}\r\n\r\n", accredit.gateway);
        let answer = tap.send(request.as_bytes()).expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (403, "address_refused"), "{}", answer.text());
    }
}

// case: EGR-11
#[test]
fn a_secret_for_https_does_not_leave_over_http() {
    let stage = stage();
    let at = stage.recorder.address;
    let before = stage.recorder.connections();
    let answer = stage.tap.send(format!("GET http://{at}/plain HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes());
    assert_eq!(answer.expect("an answer").status, 403);
    assert_eq!(stage.recorder.heads_of("/plain").len(), 0);
    assert_eq!(stage.recorder.connections(), before, "nobody connected");
}

// case: SEC-04
#[test]
fn what_looks_like_a_reference_to_a_secret_passes_as_it_is() {
    let stage = stage();
    let text = "${recorder-key} {{secrets.recorder-key}} accredit:recorder-key";
    let fields = format!("X-Note: {text}\r\nContent-Length: {}\r\n", text.len());
    stage.passes(&stage.request("POST /reference?k=$%7Brecorder-key%7D", &fields, text));
    let head = stage.only_head("/reference");
    assert_eq!(head.values("x-note"), [text]);
    assert!(head.request_line().contains("?k=$%7Brecorder-key%7D"));
}

// case: SEC-03
#[test]
fn a_resource_is_named_exactly_or_not_found() {
    let stage = stage();
    let host = stage.world.accredit.gateway;
    let before = stage.recorder.connections();
    for name in [
        "nobody",
        "*",
        "**",
        "rec*",
        "recorder*",
        "Recorder",
        "%72ecorder",
        "recorder-key",
        "${recorder}",
        "${${recorder}}",
        "..",
        "",
    ] {
        let request = format!("GET /u/{name}/v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let status = stage.tap.send(request.as_bytes()).map_or(400, |answer| answer.status);
        assert!(matches!(status, 400 | 403 | 404), "{name}: {status}");
    }
    assert_eq!(stage.recorder.heads_of("/v1/x").len(), 0);
    assert_eq!(stage.recorder.connections(), before);
}

// case: EGR-16
#[test]
fn every_place_where_a_key_goes_is_a_place_that_is_decided() {
    let stage = stage();
    let accredit = &stage.world.accredit;
    let answer = |_: &Head, stream: &mut dyn accredit_tests::raw::Duplex| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(After::Keep)
    };
    let twins: Vec<RawUpstream> = (0..3)
        .map(|_| RawUpstream::start(Some(Flaw::None), &["127.0.0.1"], answer).expect("an upstream"))
        .collect();
    let ca = stage.world.directory("twins").join("ca.pem");
    std::fs::write(&ca, twins.iter().map(|twin| twin.ca_pem.as_str()).collect::<String>()).expect("a file");
    let ca = ca.display().to_string();
    let mut add =
        vec!["resource", "add", "twins", "--owner", "ana@acme.test", "--private-network", "--ca", &ca];
    let endpoints: Vec<String> = twins.iter().map(|twin| format!("https://{}", twin.address)).collect();
    endpoints.iter().for_each(|endpoint| add.extend(["--endpoint", endpoint]));
    accredit.cli(&add).ok();
    let key = accredit_tests::world::random_key();
    let credential = [
        "credential",
        "add",
        "twins-key",
        "--resource",
        "twins",
        "--header",
        "x-api-key",
        "--value-file",
        "-",
    ];
    accredit.cli_with_input(&credential, &key).ok();
    let goes_to = accredit.json(&["credential", "show", "twins-key"])["endpoints"].clone();
    let mut goes_to: Vec<&str> =
        goes_to.as_array().expect("a list").iter().filter_map(serde_json::Value::as_str).collect();
    goes_to.sort_unstable();
    let mut wanted: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(goes_to, wanted, "the key goes to the endpoints of its resource and nowhere else");
    let tap = Tap::start(accredit, &Run::of("shop-coder", &["twins: GET /open"]));
    for twin in &twins {
        let at = twin.address;
        let mut tunnel = tap.tunnel(&at.to_string(), "127.0.0.1").expect("a tunnel");
        write!(tunnel, "GET /closed HTTP/1.1\r\nHost: {at}\r\n\r\nGET /open HTTP/1.1\r\nHost: {at}\r\n\r\n")
            .expect("bytes");
        let (closed, open) =
            (read_answer(&mut tunnel).expect("an answer"), read_answer(&mut tunnel).expect("an answer"));
        assert_eq!(
            (closed.status, closed.code().as_str(), open.status),
            (403, "outside_boundary", 200),
            "{at}"
        );
        assert_eq!(twin.heads_of("/closed").len(), 0);
        assert_eq!(twin.heads_of("/open")[0].values("x-api-key"), std::slice::from_ref(&key));
    }
}

// case: SEC-13
#[test]
fn a_key_that_is_rotated_under_load_is_one_version_in_each_request() {
    let stage = stage();
    let accredit = &stage.world.accredit;
    let upstream = RawUpstream::start(Some(Flaw::None), &["127.0.0.1"], |_: &Head, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(After::Keep)
    })
    .expect("an upstream");
    let old = stage.world.add_upstream("rotated", &upstream, "https");
    let tap = Tap::start(accredit, &Run::of("shop-coder", &["rotated: GET"]));
    let host = accredit.gateway;
    let new = accredit_tests::world::random_key();
    let returned = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (tap, returned) = (&tap, &returned);
            scope.spawn(move || {
                let mut stream = tap.connect();
                let mut after = 0;
                for n in 0..2_000 {
                    let done = returned.load(std::sync::atomic::Ordering::Acquire);
                    let phase = if done { "after" } else { "before" };
                    write!(stream, "GET /u/rotated/{phase}/{worker}/{n} HTTP/1.1\r\nHost: {host}\r\n\r\n")
                        .expect("bytes");
                    let answer = read_answer(&mut stream).expect("an answer");
                    // Decided with a value that was replaced before it was opened: it does not go out, and may be repeated.
                    let overtaken = !done && answer.status == 503 && answer.code() == "secret_gone";
                    assert!(answer.status == 200 || overtaken, "{}{}", answer.head, answer.text());
                    after += u32::from(done);
                    if after == 20 {
                        return;
                    }
                }
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        accredit.cli_with_input(&["credential", "set", "rotated-key", "--value-file", "-"], &new).ok();
        returned.store(true, std::sync::atomic::Ordering::Release);
    });
    let heads = upstream.heads();
    let with = |key: &str| heads.iter().filter(|head| head.values("x-api-key") == [key]).count();
    assert_eq!(with(&old) + with(&new), heads.len(), "each request carried exactly one version");
    assert!(with(&old) > 0 && with(&new) >= 80, "{} and {}", with(&old), with(&new));
    let late = heads
        .iter()
        .filter(|head| head.path().starts_with("/after/") && head.values("x-api-key") == [old.as_str()]);
    assert_eq!(late.count(), 0, "the old version left after the new one was set");
}

/// The public suites by their ids; requests of our own.
const PROBE: &str = include_str!("../http11probe.tsv");
/// What is refused although it has one reading, each with its reason.
const DEVIATIONS: &str = include_str!("../http11probe-deviations.tsv");

/// The bytes that a line of the suites says.
fn bytes_of(text: &str, target: &str, host: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.replace("{T}", target).replace("{H}", host));
    while let Some(next) = rest.chars().next() {
        let mut take = next.len_utf8();
        if let Some((letter, count, length)) = repeated(&rest) {
            out.extend(std::iter::repeat_n(letter, count));
            take = length;
        } else if let Some((byte, length)) = escaped(&rest) {
            out.push(byte);
            take = length;
        } else {
            out.extend(rest[..take].bytes());
        }
        rest = rest.split_off(take);
    }
    out
}

/// `{A*3}`: which letter, how often, and the length of the mark.
fn repeated(text: &str) -> Option<(u8, usize, usize)> {
    let (inside, _) = text.strip_prefix('{')?.split_once('}')?;
    let (letter, count) = inside.split_once('*')?;
    Some((*letter.as_bytes().first()?, count.parse().ok()?, inside.len() + 2))
}

/// `\r`, `\\` or `\x1f`: which byte, and the length of the mark.
fn escaped(text: &str) -> Option<(u8, usize)> {
    let mark = text.strip_prefix('\\')?;
    match mark.chars().next()? {
        'r' => Some((b'\r', 2)),
        'n' => Some((b'\n', 2)),
        't' => Some((b'\t', 2)),
        '0' => Some((0, 2)),
        '\\' => Some((b'\\', 2)),
        'x' => Some((u8::from_str_radix(mark.get(1..3)?, 16).ok()?, 4)),
        _ => None,
    }
}

// case: HTTP-06
#[test]
fn the_public_suites_of_ambiguous_and_malformed_requests_find_one_reading_or_none() {
    let stage = stage();
    let host = stage.world.accredit.gateway.to_string();
    let reasons = DEVIATIONS.lines().filter(|line| !line.starts_with('#'));
    let mut deviations: BTreeSet<&str> =
        reasons.map(|line| line.split('\t').next().unwrap_or_default()).collect();
    let mut count = 0;
    for line in PROBE.lines().filter(|line| !line.starts_with('#')) {
        let [id, what, text] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("`{line}`") };
        let path = format!("/probe/{id}");
        let bytes = bytes_of(text, &format!("/u/recorder{path}"), &host);
        match what {
            "refuse" => stage.refuses(&path, &bytes),
            "never" => {
                let _ = stage.tap.send(&bytes);
                assert_eq!(stage.recorder.heads_of(&path).len(), 0, "{id} reached the service");
            }
            "once" if deviations.remove(id) => {
                let answer = stage.tap.send(&bytes).unwrap_or_else(|| panic!("{id} is answered"));
                assert_eq!(answer.status, 400, "{id} is no deviation any more: {}", answer.head);
                assert_eq!(
                    stage.recorder.heads_of(&path).len(),
                    0,
                    "{id} was refused and reached the service"
                );
            }
            "once" => {
                let mut stream = stage.tap.connect();
                stream.write_all(&bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
                let heads = wait_for(|| {
                    let heads = stage.recorder.heads_of(&path);
                    (!heads.is_empty()).then_some(heads)
                });
                assert_eq!(heads.len(), 1, "{id} reached the service once");
                let framed = [heads[0].values("content-length"), heads[0].values("transfer-encoding")];
                assert!(framed.iter().map(Vec::len).sum::<usize>() <= 1, "{id}: {framed:?}");
            }
            other => panic!("`{other}` in `{line}`"),
        }
        count += 1;
    }
    assert!(count > 85, "{count} cases were tried");
    assert!(deviations.is_empty(), "no such cases: {deviations:?}");
}
