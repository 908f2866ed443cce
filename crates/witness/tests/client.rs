//! What a client makes of a witness that does not keep to the protocol: never a cosignature, and nothing without bounds.

use accredit_ledger::checkpoint::Checkpoint;
use accredit_ledger::hash::leaf_hash;
use accredit_ledger::note::{Cosigner, Signer};
use accredit_ledger::witness::AddCheckpoint;
use accredit_witness::{Answer, AskError, WitnessClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const ORIGIN: &str = "accredit.test/ledger";

fn head(size: u64) -> Checkpoint {
    Checkpoint::new(ORIGIN, size, leaf_hash(b"root")).expect("a checkpoint")
}

fn cosigner(seed: u8) -> Cosigner {
    Cosigner::from_seed("witness.test/w1", &[seed; 32]).expect("a cosigner")
}

/// What the client makes of these bytes, given as the answer to one request.
async fn answered(answer: String) -> Result<Answer, AskError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its number");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = vec![0; 64 * 1024];
        let _ = stream.read(&mut request).await;
        // The client may have heard enough before everything is written.
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    let signer = Signer::from_seed(ORIGIN, &[7; 32]).expect("a signer");
    let request = AddCheckpoint::new(0, Vec::new(), head(5).sign(&signer).expect("of its own log"));
    let client = WitnessClient::parse(&format!("http://{address}")).expect("a URL");
    client.add_checkpoint(&request, &head(5), cosigner(1).verifier()).await
}

fn with(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn an_answer_of_the_protocol_is_understood() {
    let good = cosigner(1).cosign(&head(5), 9).expect("a good time");
    let beside = cosigner(2).cosign(&head(5), 9).expect("a good time");
    let lines = format!("{}{}", beside.line(), good.line());
    for (answer, expected) in [
        (with("200 OK", "text/plain", &lines), Answer::Cosigned(good)),
        (with("409 Conflict", "text/x.tlog.size", "7\n"), Answer::Last(7)),
        (with("422 Unprocessable Entity", "text/plain", "no\n"), Answer::NotAPrefix),
        (with("404 Not Found", "text/plain", "no\n"), Answer::UnknownLog),
        (with("403 Forbidden", "text/plain", "no\n"), Answer::UnknownKey),
    ] {
        assert_eq!(answered(answer.clone()).await.expect(&answer), expected);
    }
}

#[tokio::test]
async fn anything_else_is_no_answer() {
    let of = |seed, size| cosigner(seed).cosign(&head(size), 9).expect("a good time").line().to_owned();
    for answer in [
        with("200 OK", "text/plain", ""),
        with("200 OK", "text/plain", &of(2, 5)),
        with("200 OK", "text/plain", &of(1, 6)),
        with("200 OK", "text/plain", of(1, 5).trim_end()),
        with("200 OK", "text/plain", &format!("{ORIGIN}\n\n{}", of(1, 5))),
        with("200 OK", "text/plain", &of(2, 5).repeat(17)),
        with("200 OK", "text/plain", &"x".repeat(65 * 1024)),
        with("409 Conflict", "text/plain", "7\n"),
        with("409 Conflict", "text/x.tlog.size", "7"),
        with("409 Conflict", "text/x.tlog.size", "07\n"),
        with("409 Conflict", "text/x.tlog.size", "-7\n"),
        with("302 Found\r\nlocation: http://127.0.0.1:1/", "text/plain", ""),
        with("500 Internal Server Error", "text/plain", ""),
        "not HTTP".to_owned(),
        String::new(),
    ] {
        let shown: String = answer.chars().take(120).collect();
        assert!(answered(answer).await.is_err(), "{shown}");
    }
}
