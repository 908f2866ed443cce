//! The request head: any bytes are answered without a panic, alike whether they come at once or one by
//! one, and what is accepted and sent upstream is read there as a request for the same path and host.

#![no_main]

use accredit_gateway::http::head::{HeadError, HeadParser, RequestHead};
use accredit_gateway::http::host::Scheme;
use accredit_gateway::http::rebuild::{Destination, Route, rebuild};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fn parse(text: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    HeadParser::new().advance(&mut BytesMut::from(text))
}

fn parse_slowly(text: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    let (mut parser, mut buffer) = (HeadParser::new(), BytesMut::new());
    for byte in text {
        buffer.extend_from_slice(&[*byte]);
        if let Some(head) = parser.advance(&mut buffer)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn check_sent(head: &RequestHead) {
    let Some(destination) = Destination::of(head, Scheme::Https) else { return };
    let Ok(rebuilt) = rebuild(head, destination, &Route::default()) else { return };
    let request = rebuilt.without_secret().expect("the route injects nothing").into_request(());
    let mut wire = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        wire.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    wire.extend_from_slice(b"\r\n");

    let upstream = parse(&wire).expect("what is sent is well formed").expect("what is sent is complete");
    let (path, query) = head.target().path_and_query().expect("not a tunnel");
    let (sent_path, sent_query) = upstream.target().path_and_query().expect("not a tunnel");
    assert_eq!(sent_path, path);
    assert_eq!(sent_query.map(|query| query.as_str()), query.map(|query| query.as_str()));
    assert_eq!(upstream.method(), head.method());
    assert_eq!(upstream.host().host(), head.host().host());
    assert_eq!(upstream.framing(), head.framing());
}

fuzz_target!(|text: &[u8]| {
    let (fast, slow) = (parse(text), parse_slowly(text));
    match (fast, slow) {
        (Ok(Some(head)), Ok(Some(_))) => check_sent(&head),
        (Ok(None), Ok(None)) => {}
        (Err(fast), Err(slow)) => assert_eq!(fast, slow),
        (fast, slow) => panic!("{fast:?} at once, {slow:?} byte by byte"),
    }
});
