//! What leaves for the upstream, whatever the agent put into its request.

use accredit_gateway::http::head::{HeadParser, RequestHead};
use accredit_gateway::http::host::Scheme;
use accredit_gateway::http::rebuild::{
    Destination, InjectError, InjectedField, Outgoing, RebuildError, Rebuilt, Route, TRACEPARENT, rebuild,
};
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};

fn head(text: &str) -> RequestHead {
    let parsed = HeadParser::new().advance(&mut BytesMut::from(text.as_bytes()));
    parsed.expect("well formed").expect("complete")
}

fn with_fields(lines: &[&str]) -> RequestHead {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    head(&format!("POST /v1/x?a=1 HTTP/1.1\r\nHost: api.test\r\n{lines}\r\n"))
}

fn rebuilt(head: &RequestHead, route: &Route<'_>) -> Rebuilt {
    let destination = Destination::of(head, Scheme::Https).expect("not a tunnel");
    rebuild(head, destination, route).expect("can be sent")
}

fn sent(outgoing: Result<Outgoing, InjectError>) -> http::Request<()> {
    outgoing.expect("can be sent").into_request(())
}

/// The fields sent when `lines` come over a route that injects `name`.
fn injected(name: &str, lines: &[&str]) -> HeaderMap {
    let field = InjectedField::parse(name).expect("a field name");
    let route = Route { injected: Some(&field), ..Route::default() };
    sent(rebuilt(&with_fields(lines), &route).inject(b"canary")).headers().clone()
}

/// The fields sent, but for `Host`, when `lines` come over a route that injects nothing.
fn plain(lines: &[&str]) -> Vec<String> {
    let request = sent(rebuilt(&with_fields(lines), &Route::default()).without_secret());
    let names = request.headers().keys().map(|name| name.as_str().to_owned());
    names.filter(|name| name != "host").collect()
}

// case: HTTP-10
#[test]
fn the_connection_list_cannot_take_the_injected_field_away() {
    for (name, line) in [
        ("authorization", "Connection: Authorization"),
        ("x-api-key", "Connection: close, X-Api-Key"),
        ("x-api-key", "Connection: x_api_key, host, content-length"),
    ] {
        let headers = injected(name, &[line]);
        assert_eq!(headers[name], "canary", "{line}");
        assert_eq!(headers["host"], "api.test", "{line}");
        assert!(!headers.contains_key("connection"), "{line}");
    }
    assert!(plain(&["Connection: X-Hop, x-other", "X-Hop: 1", "X_Other: 2"]).is_empty());
}

// case: HTTP-11, HTTP-12
#[test]
fn no_client_credential_travels_beside_the_injected_one() {
    let lines = [
        "Authorization: Bearer mine",
        "authorization: Basic bWluZQ==",
        "X-Api-Key: mine",
        "X_Api_Key: mine",
        "x-api_key: mine",
        "X-API-KEY: mine",
        "Cookie: s=mine",
        "Proxy-Authorization: Basic bWluZQ==",
        "Private-Token: mine",
        "X-Custom_Auth: mine",
    ];
    for name in ["authorization", "x-api-key", "X-Custom-Auth", "x_custom_auth"] {
        let headers = injected(name, &lines);
        let values: Vec<&HeaderValue> = headers.values().filter(|value| *value != "api.test").collect();
        let custom = usize::from(!name.to_ascii_lowercase().contains("custom"));
        assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
        assert_eq!(headers[name], "canary");
        assert!(headers[name].is_sensitive());
        // A name that Accredit does not know stays, unless it is the one that is injected.
        assert_eq!(values.len(), 1 + custom, "{name}: {headers:?}");
    }
}

// case: SEC-05
#[test]
fn what_belongs_to_accredit_ends_at_accredit() {
    let own = [
        "DPoP: x",
        "Accredit-Task: t",
        "accredit_task: t",
        "X-Accredit-Debug: 1",
        "baggage: a=b",
        "tracestate: a=b",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "Client-Cert: :x:",
        "X-Client-Cert: x",
        "X-Forwarded-Client-Cert: x",
        "Proxy-Authorization: Bearer task-token",
    ];
    assert!(plain(&own).is_empty(), "{:?}", plain(&own));

    let consumed = [HeaderName::from_static("authorization")];
    let route = Route { consumed: &consumed, ..Route::default() };
    let request =
        sent(rebuilt(&with_fields(&["Authorization: Bearer task-token", "A: b"]), &route).without_secret());
    assert!(!request.headers().contains_key("authorization") && request.headers().contains_key("a"));
}

#[test]
fn nothing_of_the_hop_and_no_other_client_or_method_is_told_upstream() {
    let gone = [
        "TE: trailers",
        "Trailer: x",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Upgrade: h2c",
        "HTTP2-Settings: x",
        "Expect: 100-continue",
        "Via: 1.1 x",
        "Forwarded: for=x",
        "X-Forwarded-For: 127.0.0.1",
        "X_Forwarded_Host: evil",
        "X-Real-IP: 127.0.0.1",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X_Method_Override: DELETE",
        "X-Host: evil",
    ];
    assert!(plain(&gone).is_empty(), "{:?}", plain(&gone));
    assert_eq!(plain(&["Accept: a", "Range: bytes=0-1", "Content-Type: t", "User-Agent: u"]).len(), 4);
}

#[test]
fn framing_and_host_are_written_anew() {
    let request = |text: &str| sent(rebuilt(&head(text), &Route::default()).without_secret());
    let sized =
        request("POST http://API.test:8080/x HTTP/1.1\r\nHost: api.test:8080\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(
        (&sized.headers()["host"], &sized.headers()["content-length"]),
        (&"api.test:8080".parse().expect("a value"), &"5".parse().expect("a value"))
    );
    let chunked = request("POST /x HTTP/1.1\r\nHost: api.test:443\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(chunked.headers()["transfer-encoding"], "chunked");
    assert_eq!(chunked.headers()["host"], "api.test");
    assert_eq!(chunked.uri().to_string(), "/x");
}

#[test]
fn the_route_adds_its_trace_and_asks_for_plain_bodies() {
    let traceparent = HeaderValue::from_static("00-11111111111111111111111111111111-2222222222222222-01");
    let route = Route { traceparent: Some(&traceparent), identity_only: true, ..Route::default() };
    let request = sent(rebuilt(&with_fields(&["Accept-Encoding: gzip, br"]), &route).without_secret());
    assert_eq!(request.headers().get_all("accept-encoding").iter().collect::<Vec<_>>(), ["identity"]);
    assert_eq!(request.headers().get(TRACEPARENT), Some(&traceparent));
}

// case: HTTP-14
#[test]
fn a_method_that_no_resource_offers_is_not_sent() {
    for method in ["get", "TRACE", "X-unknown", "PROPFIND"] {
        let head = head(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let destination = Destination::of(&head, Scheme::Https).expect("not a tunnel");
        assert_eq!(
            rebuild(&head, destination, &Route::default()).err(),
            Some(RebuildError::Method),
            "{method}"
        );
    }
    let tunnel = head("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    assert!(Destination::of(&tunnel, Scheme::Https).is_none());
}

// case: HTTP-13
#[test]
fn path_and_query_are_sent_byte_for_byte() {
    for target in ["/", "/a;b/%40x?q=%2e%2e//..&r", "/wiki/What%3F?", "/100%25", "/a|b^c[d]?{}\\`|^"] {
        let request = sent(
            rebuilt(&head(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")), &Route::default())
                .without_secret(),
        );
        assert_eq!(request.uri().path_and_query().map(|sent| sent.as_str()), Some(target));
    }
}

#[test]
fn a_secret_goes_only_where_the_route_says() {
    let field = InjectedField::parse("x-api-key").expect("a field name");
    let route = Route { injected: Some(&field), ..Route::default() };
    let request = with_fields(&[]);
    assert_eq!(rebuilt(&request, &route).without_secret().err(), Some(InjectError::Route));
    assert_eq!(rebuilt(&request, &Route::default()).inject(b"canary").err(), Some(InjectError::Route));
    for value in [b"".as_slice(), b"a\r\nb", b"a\0", b"a\x7f"] {
        assert_eq!(rebuilt(&request, &route).inject(value).err(), Some(InjectError::Value));
    }
    for name in [
        "host",
        "Content-Length",
        "connection",
        "proxy-authorization",
        "te",
        "traceparent",
        "accredit-task",
        "transfer_encoding",
        "accept-encoding",
        "a b",
        "",
    ] {
        assert!(InjectedField::parse(name).is_none(), "{name:?}");
    }
}

#[test]
fn canonical_bytes_tell_requests_apart_and_hold_no_secret() {
    let field = InjectedField::parse("x-api-key").expect("a field name");
    let route = Route { injected: Some(&field), ..Route::default() };
    let base = "GET /a?b HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n";
    let bytes = |text: &str, route: &Route<'_>| rebuilt(&head(text), route).canonical_bytes();
    let others = [
        "HEAD /a?b HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n",
        "GET /a? HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n",
        "GET /a?b HTTP/1.1\r\nHost: h:444\r\nX: y\r\n\r\n",
        "GET http://h:443/a?b HTTP/1.1\r\nHost: h:443\r\nX: y\r\n\r\n",
        "GET /a?b HTTP/1.1\r\nHost: h\r\nX: z\r\n\r\n",
        "GET /a?b HTTP/1.1\r\nHost: h\r\nXy:\r\n\r\n",
        "GET /a?b HTTP/1.1\r\nHost: h\r\nX: y\r\nX: y\r\n\r\n",
    ];
    let all: Vec<Vec<u8>> = others
        .iter()
        .map(|text| bytes(text, &route))
        .chain([bytes(base, &route), bytes(base, &Route::default())])
        .collect();
    for (index, one) in all.iter().enumerate() {
        assert!(all[index + 1..].iter().all(|other| other != one), "{index}");
    }

    let traceparent = HeaderValue::from_static("00-11111111111111111111111111111111-2222222222222222-01");
    let traced = Route { traceparent: Some(&traceparent), ..route };
    assert_eq!(bytes(base, &traced), bytes(base, &route), "the same action in another exchange");
    let mine = "GET /a?b HTTP/1.1\r\nHost: h\r\nX: y\r\nX-Api-Key: canary\r\nConnection: close\r\n\r\n";
    assert_eq!(bytes(mine, &route), bytes(base, &route), "what is not sent makes no difference");
}
