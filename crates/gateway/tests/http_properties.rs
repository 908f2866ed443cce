//! Whatever bytes come: the parser does not panic, gives one answer however they arrive, and what it
//! accepts, written out again or sent upstream, is read as the same request.

use accredit_gateway::http::head::{HeadError, HeadParser, RequestHead};
use accredit_gateway::http::host::Scheme;
use accredit_gateway::http::method::Version;
use accredit_gateway::http::rebuild::{Destination, InjectedField, Route, rebuild};
use accredit_gateway::http::target::Target;
use bytes::BytesMut;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::RngSeed;

type Parsed = Result<Option<RequestHead>, HeadError>;

fn parse_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Parsed {
    let (mut parser, mut buffer) = (HeadParser::new(), BytesMut::new());
    for part in parts {
        buffer.extend_from_slice(part);
        if let Some(head) = parser.advance(&mut buffer)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn target_text(target: &Target) -> String {
    let (prefix, path_and_query) = match target {
        Target::Origin { .. } => (String::new(), target.path_and_query()),
        Target::Absolute { scheme, .. } => (format!("{}://", scheme.as_str()), target.path_and_query()),
        Target::Tunnel { .. } => (String::new(), None),
    };
    let authority = target.authority().map(|(authority, _)| match authority.port() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_string(),
    });
    let mut text = prefix + &authority.unwrap_or_default();
    if let Some((path, query)) = path_and_query {
        text += path.as_str();
        text += &query.map(|query| format!("?{}", query.as_str())).unwrap_or_default();
    }
    text
}

fn write(head: &RequestHead) -> Vec<u8> {
    let version = if head.version() == Version::Http11 { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut out =
        format!("{} {} {version}\r\n", head.method().as_str(), target_text(head.target())).into_bytes();
    for field in head.fields().iter() {
        out.extend_from_slice(
            &[field.name().as_str().as_bytes(), b": ", field.value().as_bytes(), b"\r\n"].concat(),
        );
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Everything that is read from a head, as one comparable text.
fn meaning(head: &RequestHead) -> String {
    let fields: Vec<_> = head.fields().iter().map(|field| (field.name(), field.value())).collect();
    let (method, target, host) = (head.method(), target_text(head.target()), head.host());
    let marks = (head.version(), head.framing(), head.keep_alive(), head.expect_continue(), head.upgrade());
    format!("{method:?} {target} {host:?} {marks:?} {fields:?}")
}

/// The meanings of a result, for comparison.
fn outcome(parsed: &Parsed) -> Result<Option<String>, HeadError> {
    match parsed {
        Ok(head) => Ok(head.as_ref().map(meaning)),
        Err(error) => Err(*error),
    }
}

fn check_accepted(head: &RequestHead) {
    let again = parse_parts([write(head).as_slice()]);
    assert_eq!(outcome(&again), Ok(Some(meaning(head))));
    check_sent(head);
}

/// What goes upstream is, to the same strict parser, a request for what was decided.
fn check_sent(head: &RequestHead) {
    let Some(destination) = Destination::of(head, Scheme::Https) else { return };
    let field = InjectedField::parse("X-Api-Key").expect("a field name");
    let route = Route { injected: Some(&field), ..Route::default() };
    let Ok(rebuilt) = rebuild(head, destination, &route) else { return };
    let outgoing = rebuilt.inject(b"canary").expect("one place for the secret");
    let (path, query) = head.target().path_and_query().expect("not a tunnel");
    let (host, port) = (outgoing.destination().host.clone(), outgoing.destination().port);
    let scheme = outgoing.destination().scheme;
    let request = outgoing.into_request(());
    let mut wire = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        wire.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    wire.extend_from_slice(b"\r\n");

    let upstream = parse_parts([wire.as_slice()]).expect("well formed").expect("complete");
    assert_eq!(upstream.method(), head.method());
    assert_eq!(
        upstream.target().path_and_query().map(|(p, q)| (p.as_str(), q.map(|q| q.as_str()))),
        Some((path.as_str(), query.map(|q| q.as_str())))
    );
    assert_eq!((upstream.host().host(), upstream.host().port_or(scheme.default_port())), (&host, port));
    assert_eq!(upstream.framing(), head.framing());
    let folded = |name: &str| name.replace('_', "-");
    let carriers: Vec<_> =
        upstream.fields().iter().filter(|field| folded(field.name().as_str()) == "x-api-key").collect();
    assert!(carriers.len() == 1 && carriers[0].value() == "canary");
    assert!(upstream.fields().iter().all(|field| folded(field.name().as_str()) != "connection"));
}

const SEEDS: [&str; 5] = [
    "GET /v1/x?a=1 HTTP/1.1\r\nHost: allowed\r\nAccept: */*\r\n\r\n",
    "POST /v1/x HTTP/1.1\r\nHost: allowed:443\r\nContent-Length: 5\r\nX-Api-Key: mine\r\nConnection: close, x-api-key\r\n\r\nhello",
    "PUT http://allowed/%40a HTTP/1.1\r\nHost: allowed\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
    "CONNECT allowed:443 HTTP/1.0\r\nProxy-Authorization: Basic eA==\r\n\r\n",
    "GET /ws HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
];

const INTERESTING: &[u8] = b"\r\n\t \0\x0b\x7f\x80\xff:;,/\\?#%@[]._-0159aAxX\"()";

#[derive(Debug, Clone)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = || prop_oneof![3 => prop::sample::select(INTERESTING), 1 => any::<u8>()];
    prop_oneof![
        (any::<prop::sample::Index>(), byte()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<prop::sample::Index>(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<prop::sample::Index>().prop_map(Mutation::Remove),
        any::<[prop::sample::Index; 2]>().prop_map(|[line, to]| Mutation::Repeat(line, to)),
    ]
}

fn mutate(text: &mut Vec<u8>, mutation: &Mutation) {
    match mutation {
        Mutation::Replace(at, byte) if !text.is_empty() => {
            let at = at.index(text.len());
            text[at] = *byte;
        }
        Mutation::Insert(at, byte) => text.insert(at.index(text.len() + 1), *byte),
        Mutation::Remove(at) if !text.is_empty() => drop(text.remove(at.index(text.len()))),
        Mutation::Repeat(line, to) => {
            let lines: Vec<Vec<u8>> =
                text.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            if lines.is_empty() {
                return;
            }
            let mut moved = lines.clone();
            moved.insert(to.index(lines.len()), lines[line.index(lines.len())].clone());
            *text = moved.concat();
        }
        Mutation::Replace(..) | Mutation::Remove(_) => {}
    }
}

fn mutated_head() -> impl Strategy<Value = Vec<u8>> {
    let seed = prop::sample::select(SEEDS.as_slice());
    (seed, proptest::collection::vec(mutation(), 0..4)).prop_map(|(seed, mutations)| {
        let mut text = seed.as_bytes().to_vec();
        mutations.iter().for_each(|mutation| mutate(&mut text, mutation));
        text
    })
}

/// Well-formed heads made of parts, so that more than the seeds is accepted.
fn composed_head() -> impl Strategy<Value = Vec<u8>> {
    let method = "(GET|HEAD|POST|DELETE|OPTIONS|TRACE|[A-Za-z!#$*]{1,8})";
    let path = "(/[a-zA-Z0-9._~@:;=%|^]{0,8}){1,4}";
    let query = r"(\?[!-~]{0,12})?";
    let field = "[A-Za-z_!-]{1,14}:[ \t]{0,2}[ -~\t]{0,16}[ \t]{0,2}";
    (method, path, query, proptest::collection::vec(field, 0..6)).prop_map(|(method, path, query, fields)| {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{method} {path}{query} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n").into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    // case: HTTP-03, HTTP-05, HTTP-11, HTTP-12, HTTP-13
    #[test]
    fn what_is_accepted_is_read_alike_again_and_upstream(text in prop_oneof![mutated_head(), composed_head()]) {
        if let Ok(Some(head)) = parse_parts([text.as_slice()]) {
            check_accepted(&head);
        }
    }

    #[test]
    fn how_the_bytes_arrive_makes_no_difference(
        text in prop_oneof![mutated_head(), composed_head()],
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let whole = outcome(&parse_parts([text.as_slice()]));
        prop_assert_eq!(outcome(&parse_parts(cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]))), whole.clone());
        prop_assert_eq!(outcome(&parse_parts(text.chunks(1))), whole);
    }

    #[test]
    fn any_bytes_at_all_are_answered(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!matches!(parse_parts([text.as_slice()]), Ok(Some(_))), "random bytes are no request");
    }
}

#[test]
fn the_generators_reach_what_is_accepted() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..500 {
        let text = composed_head().new_tree(&mut runner).expect("a value").current();
        accepted += usize::from(matches!(parse_parts([text.as_slice()]), Ok(Some(_))));
    }
    assert!(accepted > 50, "only {accepted} of 500 were accepted");
}
