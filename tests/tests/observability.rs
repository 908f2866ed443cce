//! Traces: a collector gets one span for each action and one for each of its steps, nothing that is anybody's secret, and
//! no say in what happens.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use accredit_tests::canary::{Canary, in_bytes};
use accredit_tests::collector::{Arrived, Collector, Manner};
use accredit_tests::harness::{Run, Setup, wait_for};
use accredit_tests::world::World;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const AGENTS_SPAN: &str = "b7ad6b7169203331";

fn told(to: &Collector) -> Setup {
    Setup { config: format!("[observability]\notlp = \"{}\"", to.url()), ..Setup::default() }
}

fn below<'a>(spans: &'a [Arrived], action: &Arrived) -> Vec<&'a Arrived> {
    spans.iter().filter(|span| span.parent == action.span && span.trace == action.trace).collect()
}

fn names(spans: &[&Arrived]) -> Vec<String> {
    spans.iter().map(|span| span.name.clone()).collect()
}

#[test]
fn an_action_is_one_span_with_its_steps_in_the_trace_that_goes_upstream() {
    let collector = Collector::start(Manner::Takes).expect("a collector");
    let world = World::start(told(&collector));
    world.enrol("shop-coder");
    let script = format!(
        "curl -sS -H 'traceparent: 00-{TRACE}-{AGENTS_SPAN}-01' -d 'a-body-sent-in-the-clear' \"$0/v1/orders?q=a-query-sent-in-the-clear\"; \
         curl -sS \"$0/v1/the-path-of-one-person\"; curl -sS https://unknown.example/"
    );
    let run = Run::of("shop-coder", &["orders: POST *"]);
    let said = run.output(&world.accredit, &["sh", "-c", &script, &world.sample.url]);
    let actions = wait_for(|| {
        let actions: Vec<_> = collector.spans().into_iter().filter(|span| span.name == "action").collect();
        (actions.len() >= 3).then_some(actions)
    });
    assert_eq!(actions.len(), 3, "{}{}", said.stdout, said.stderr);
    assert!(collector.requests().iter().all(|line| line == "POST /v1/traces HTTP/1.1"));
    let spans = collector.spans();
    let of = |code: &str| actions.iter().find(|a| a.attributes["accredit.code"] == code).expect(code);
    let entries =
        world.accredit.json(&["audit", "search", "--kind", "action.decided", "--limit", "10"]).to_string();
    for action in &actions {
        assert_eq!(action.resource["service.name"], "accredit");
        assert!(action.resource.contains_key("service.version"), "{action:?}");
        assert!(
            entries.contains(&format!("00-{}-{}-01", action.trace, action.span)),
            "as in the ledger: {action:?}"
        );
        assert!(entries.contains(&action.attributes["accredit.decision"]));
        for step in below(&spans, action) {
            assert!(
                step.between_ns.0 >= action.between_ns.0 && step.between_ns.1 <= action.between_ns.1,
                "{step:?}"
            );
        }
    }

    let allowed = of("allowed");
    assert_eq!(
        (allowed.trace.as_str(), allowed.parent.as_str(), allowed.failed),
        (TRACE, AGENTS_SPAN, false)
    );
    assert_eq!(names(&below(&spans, allowed)), ["facts", "decide", "record", "open", "send", "relay"]);
    let expected = [
        ("accredit.resource", "orders"),
        ("accredit.agent", "shop-coder"),
        ("accredit.effect", "write"),
        ("accredit.settlement", "done"),
    ];
    for (name, value) in expected {
        assert_eq!(allowed.attributes[name], value, "{name}");
    }

    let refused = of("outside_boundary");
    assert!(refused.failed && refused.parent.is_empty());
    assert_eq!(names(&below(&spans, refused)), ["facts", "decide", "record"]);
    let unknown = of("unknown_host");
    assert_eq!(unknown.attributes["server.address"], "unknown.example");
    assert_eq!(spans.iter().map(|span| &span.span).collect::<BTreeSet<_>>().len(), spans.len(), "each once");

    let bytes = collector.bytes();
    let texts = ["a-body-sent-in-the-clear", "a-query-sent-in-the-clear", "the-path-of-one-person"]
        .map(|text| Canary::new(text, text));
    for hidden in [&world.canaries[..], &texts] {
        assert_eq!(in_bytes(hidden, &bytes, "what the collector got"), []);
    }
}

#[test]
fn a_collector_that_fails_or_hangs_holds_nothing_up() {
    for manner in [Manner::Refuses, Manner::Hangs] {
        let collector = Collector::start(manner).expect("a collector");
        let mut world = World::start(told(&collector));
        world.enrol("shop-coder");
        let run = Run::of("shop-coder", &["orders: GET *"]);
        for _ in 0..3 {
            let said = run.output(
                &world.accredit,
                &["curl", "-sS", "-w", "%{http_code}", &format!("{}/v1/orders", world.sample.url)],
            );
            assert!(said.stdout.ends_with("200"), "{manner:?}: {}{}", said.stdout, said.stderr);
        }
        wait_for(|| (!collector.bytes().is_empty()).then_some(()));
        if manner == Manner::Refuses {
            wait_for(|| world.accredit.log().contains("reports of actions were not taken").then_some(()));
        }
        let asked = Instant::now();
        assert_eq!(world.accredit.stop(), 0, "{manner:?}");
        assert!(asked.elapsed() < Duration::from_secs(15), "{manner:?}: stopping waits for nobody");
    }
}

#[test]
fn nothing_is_sent_unless_it_is_asked_for_and_the_environment_can_ask() {
    let collector = Collector::start(Manner::Takes).expect("a collector");
    let environment = |name: &str| vec![(name.to_owned(), collector.url())];
    for (name, sends) in [("OTEL_EXPORTER_OTLP_ENDPOINT", false), ("ACCREDIT_OBSERVABILITY__OTLP", true)] {
        let mut world = World::start(Setup { environment: environment(name), ..Setup::default() });
        world.enrol("shop-coder");
        let run = Run::of("shop-coder", &["orders: GET *"]);
        let _ = run.output(&world.accredit, &["curl", "-sS", &format!("{}/v1/orders", world.sample.url)]);
        assert_eq!(world.accredit.stop(), 0);
        assert_eq!(!collector.spans().is_empty(), sends, "{name}: what is left is sent before the end");
    }
}
