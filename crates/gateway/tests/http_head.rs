//! The request head parser against the inputs that have fooled other parsers.

use accredit_gateway::http::framing::Framing;
use accredit_gateway::http::head::{
    FIELDS_MAX, HEADER_BLOCK_BYTES_MAX, HeadError, HeadParser, REQUEST_LINE_BYTES_MAX, RequestHead, Upgrade,
};
use accredit_gateway::http::method::Method;
use bytes::BytesMut;
use http::StatusCode;

fn parse(bytes: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    HeadParser::new().advance(&mut BytesMut::from(bytes))
}

fn accepted(text: &str) -> RequestHead {
    match parse(text.as_bytes()) {
        Ok(Some(head)) => head,
        other => panic!("{text:?} gave {other:?}"),
    }
}

fn refused(bytes: &[u8]) -> HeadError {
    match parse(bytes) {
        Err(error) => error,
        Ok(read) => panic!("{:?} gave {read:?}", String::from_utf8_lossy(bytes)),
    }
}

fn with_fields(lines: &str) -> Vec<u8> {
    format!("POST /v1/x HTTP/1.1\r\nHost: allowed\r\n{lines}\r\n").into_bytes()
}

// case: HTTP-05
#[test]
fn a_malformed_head_is_refused_with_400() {
    let heads: [&[u8]; 26] = [
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa4: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for head in heads {
        assert_eq!(refused(head).status(), StatusCode::BAD_REQUEST, "{:?}", String::from_utf8_lossy(head));
    }
}

#[test]
fn only_two_versions_are_spoken() {
    for version in
        ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/1.1x", "HTTP/01.1", "HTTP/1", "HTTPS/1.1"]
    {
        let head = format!("GET / {version}\r\nHost: a\r\n\r\n");
        assert_eq!(refused(head.as_bytes()), HeadError::Version, "{version}");
    }
}

// case: HTTP-01, HTTP-02, HTTP-07
#[test]
fn a_body_whose_length_cannot_be_told_is_refused() {
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\ncontent-length: 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 00000000000000000005\r\n",
    ] {
        refused(&with_fields(lines));
    }
    refused(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(refused(b"POST / HTTP/1.0\r\nHost: a\r\n\r\nclose-delimited"), HeadError::Content);
    assert_eq!(
        refused(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 1\r\n\r\n"),
        HeadError::Content
    );
}

/// Every way of bending one `Transfer-Encoding: chunked` line that smuggling tools try.
fn transfer_encoding_mutations() -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let others = (0x00..=0x20).chain(0x21..=0xffu8).filter(|b| !b.is_ascii_alphanumeric());
    for byte in others {
        for line in [
            [b"Transfer-Encoding".as_slice(), &[byte], b": chunked"].concat(),
            [&[byte], b"Transfer-Encoding: chunked".as_slice()].concat(),
            [b"Transfer-Encoding:".as_slice(), &[byte], b"chunked"].concat(),
            [b"Transfer-Encoding: ".as_slice(), &[byte], b"chunked"].concat(),
            [b"Transfer-Encoding: chunked".as_slice(), &[byte]].concat(),
            [b"Transfer-Encoding: chunked ".as_slice(), &[byte]].concat(),
            [b"Transfer-Encoding: ".as_slice(), &[byte], b"chunked", &[byte]].concat(),
            [b"Transfer-Encoding".as_slice(), &[byte], b"chunked"].concat(),
            [b"Transfer".as_slice(), &[byte], b"Encoding: chunked"].concat(),
            [b"X: y\r".as_slice(), &[byte], b"Transfer-Encoding: chunked"].concat(),
            [b"X: y".as_slice(), &[byte], b"\nTransfer-Encoding: chunked"].concat(),
            [b"X: y\r\n".as_slice(), &[byte], b"Transfer-Encoding: chunked"].concat(),
        ] {
            lines.push(line);
        }
    }
    for line in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\r\n ",
        "Transfer-Encoding\r\n : chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-encoding: cow",
        "Transfer-Encoding: chunked, cow",
        "Transfer-Encoding: cow, chunked",
        "Transfer-Encoding: chunked;a=b",
        "TRANSFER-ENCODING: CHUNKED",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding: ",
    ] {
        lines.push(line.as_bytes().to_vec());
    }
    lines
}

// case: HTTP-03
#[test]
fn no_bent_transfer_encoding_is_read_as_chunked() {
    // The spellings that RFC 9112 writes, alone or as a line of its own after another field.
    let canonical = [
        b"Transfer-Encoding: chunked".as_slice(),
        b"Transfer-Encoding:chunked",
        b"X: y\r\nTransfer-Encoding: chunked",
    ];
    let mut judged = 0;
    for line in transfer_encoding_mutations() {
        let head = [b"POST / HTTP/1.1\r\nHost: a\r\n".as_slice(), &line, b"\r\n\r\n"].concat();
        let shown = String::from_utf8_lossy(&line);
        judged += 1;
        match parse(&head) {
            Err(error) => assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{shown:?}"),
            // A token character in the name makes another field, which frames nothing.
            Ok(Some(head)) if head.framing() == Framing::None => {}
            Ok(Some(_)) => assert!(canonical.contains(&line.as_slice()), "{shown:?}"),
            Ok(None) => panic!("incomplete: {shown:?}"),
        }
    }
    assert!(judged > 2000, "the mutations were generated");
}

// case: EGR-01, EGR-02, EGR-15
#[test]
fn a_request_for_two_hosts_is_refused() {
    for head in [
        "GET http://allowed/ HTTP/1.1\r\nHost: evil\r\n\r\n",
        "GET http://allowed/ HTTP/1.1\r\nHost: allowed:8080\r\n\r\n",
        "GET http://allowed:8080/ HTTP/1.1\r\nHost: allowed\r\n\r\n",
        "GET https://allowed/ HTTP/1.1\r\nHost: allowed:80\r\n\r\n",
        "GET http://allowed/ HTTP/1.1\r\nHost: allowed.evil\r\n\r\n",
        "CONNECT allowed:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n",
        "CONNECT allowed:443 HTTP/1.1\r\nHost: allowed:8443\r\n\r\n",
    ] {
        assert_eq!(refused(head.as_bytes()), HeadError::HostDiffers, "{head:?}");
    }
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://allowed/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: allowed\r\nHost: allowed\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: allowed\r\nhost: evil\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: allowed, evil\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: allowed:443@evil\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \r\n\r\n",
        "GET / HTTP/1.1\r\nHost:  allowed\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: allowed/x\r\n\r\n",
        "GET http://user:pass@allowed/ HTTP/1.1\r\nHost: allowed\r\n\r\n",
        "GET http://allowed/#f HTTP/1.1\r\nHost: allowed\r\n\r\n",
        "CONNECT allowed HTTP/1.1\r\nHost: allowed\r\n\r\n",
        "GET allowed:443 HTTP/1.1\r\nHost: allowed\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: allowed\r\n\r\n",
    ] {
        assert_eq!(refused(head.as_bytes()).status(), StatusCode::BAD_REQUEST, "{head:?}");
    }
}

// case: EGR-09
#[test]
fn target_and_host_may_differ_in_spelling_but_not_in_meaning() {
    for head in [
        "GET http://Allowed/ HTTP/1.1\r\nHost: allowed:80\r\n\r\n",
        "GET https://allowed:443/ HTTP/1.1\r\nHost: ALLOWED\r\n\r\n",
        "GET http://allowed HTTP/1.0\r\n\r\n",
        "CONNECT allowed:443 HTTP/1.1\r\nHost: allowed\r\n\r\n",
        "CONNECT allowed:443 HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(accepted(head).host().host().to_string(), "allowed", "{head:?}");
    }
}

// case: HTTP-14
#[test]
fn methods_are_case_sensitive_and_unknown_ones_are_marked() {
    for name in ["get", "GeT", "TRACE", "X-unknown", "PROPFIND", "PRI"] {
        let head = accepted(&format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(head.method(), &Method::Unknown(name.into()));
    }
    for name in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let head = accepted(&format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!matches!(head.method(), Method::Unknown(_)));
        assert_eq!(head.method().as_str(), name);
    }
    refused(b"GET\t / HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(33)).as_bytes());
}

// case: HTTP-08
#[test]
fn an_upgrade_is_marked_and_leaves_what_follows_in_the_buffer() {
    let first = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut buffer = BytesMut::from(format!("{first}GET /second HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    let mut parser = HeadParser::new();
    let head = parser.advance(&mut buffer).expect("well formed").expect("complete");
    assert_eq!(head.upgrade(), Upgrade::WebSocket);
    let second = parser.advance(&mut buffer).expect("well formed").expect("complete");
    assert_eq!(second.target().path_and_query().map(|(path, _)| path.as_str()), Some("/second"));
    assert!(buffer.is_empty() && parser.is_idle());
    assert_eq!(accepted("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n").upgrade(), Upgrade::Other);
}

#[test]
fn connection_and_expect_are_read() {
    let keep = |lines: &str| accepted(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).keep_alive();
    assert!(keep(""));
    assert!(keep("Connection: keep-alive\r\n"));
    assert!(!keep("Connection: keep-alive, Close\r\n"));
    assert!(!accepted("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").keep_alive());
    assert_eq!(refused(&with_fields("Connection: \"x\"\r\n")), HeadError::Connection);
    assert!(accepted("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n").expect_continue());
    assert_eq!(refused(&with_fields("Expect: 200-ok\r\n")).status(), StatusCode::EXPECTATION_FAILED);
}

#[test]
fn each_bound_is_kept_to_the_byte() {
    let line = |bytes: usize| format!("GET /{} HTTP/1.1", "a".repeat(bytes - "GET / HTTP/1.1".len()));
    let long = |bytes: usize| format!("{}\r\nHost: a\r\n\r\n", line(bytes));
    accepted(&long(REQUEST_LINE_BYTES_MAX));
    assert_eq!(refused(long(REQUEST_LINE_BYTES_MAX + 1).as_bytes()), HeadError::RequestLineTooLong);

    let block = |bytes: usize| {
        let fixed = "Host: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "b".repeat(bytes - fixed))
    };
    accepted(&block(HEADER_BLOCK_BYTES_MAX));
    assert_eq!(refused(block(HEADER_BLOCK_BYTES_MAX + 1).as_bytes()), HeadError::FieldsTooLong);

    let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    accepted(&many(FIELDS_MAX));
    assert_eq!(refused(many(FIELDS_MAX + 1).as_bytes()), HeadError::FieldsTooMany);
}

#[test]
fn a_foreign_byte_is_refused_before_the_head_is_complete() {
    for start in
        [b"\x16\x03\x01".as_slice(), b"GET /\x80", b"GET / HTTP/1.1\r\nX: \xff", b"GET /\n", b"GET /\rx"]
    {
        refused(start);
    }
}

#[test]
fn an_endless_line_is_refused_at_the_bound() {
    assert_eq!(refused(&[b'a'; REQUEST_LINE_BYTES_MAX + 2]), HeadError::RequestLineTooLong);
    let head = [b"GET / HTTP/1.1\r\n".as_slice(), &[b'a'; HEADER_BLOCK_BYTES_MAX + 1]].concat();
    assert_eq!(refused(&head), HeadError::FieldsTooLong);
}

#[test]
fn a_head_does_not_print_its_values() {
    let head = accepted("GET /?q=canary HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary\r\n\r\n");
    let printed = format!("{head:?}");
    assert!(printed.contains("authorization") && !printed.contains("canary"), "{printed}");
}
