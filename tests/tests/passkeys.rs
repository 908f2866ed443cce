//! A yes by passkey: a device of a person's own signs exactly what it was asked for, and nothing else counts as it.

use std::sync::{Arc, Mutex, Weak};

use accredit_tests::browser::Browser;
use accredit_tests::harness::{Run, Setup};
use accredit_tests::person::Person;
use accredit_tests::shell::Shell;
use accredit_tests::world::{World, shared};
use serde_json::{Value, json};

static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());

const MORE: &str = r#"
@id("test/by-passkey")
@approvers("role:approver")
@per("task")
@step_up("passkey")
forbid (principal, action == Action::"write", resource)
when { context.request.path like "/v1/paid/*" }
unless { context.approval.granted };
"#;

fn world() -> Arc<World> {
    shared(&WORLD, || {
        let world = World::start(Setup::at_localhost());
        world.enrol("shop-coder");
        world.add_policies(MORE);
        world
    })
}

/// A browser in which this person is signed in as an approver, and has registered a passkey. Gives the device's name too.
#[track_caller]
fn with_passkey(world: &World, name: &str) -> (Browser, String) {
    let mut browser = Browser::sign_in(&world.accredit, name, "approver");
    let device = browser.add_authenticator("internal");
    browser.register_passkey();
    (browser, device)
}

/// A task that asks about paying, and the id of the request.
#[track_caller]
fn ask(world: &World, what: &str) -> (Shell, String, Value) {
    let mut task = Shell::start(&world.accredit, &Run::of("shop-coder", &["orders: *"]));
    let call = format!("curl -sS -w ' %{{http_code}}' -X POST -d '{{}}' {}", world.url(what));
    let said = task.run(&call);
    let problem: Value = serde_json::from_str(said.lines().next().unwrap_or_default()).expect(&said);
    assert_eq!(problem["code"], "approval_pending", "{problem}");
    (task, call, problem["request"].clone())
}

/// What our page's own calls answer: status and code.
#[track_caller]
fn call(browser: &mut Browser, method: &str, path: &str, body: &str) -> (u64, String) {
    let script = format!(
        "(async () => {{ const body = await ({body}); const a = await fetch('{path}', {{ method: '{method}', \
         headers: {{ 'Accredit-Page': '1', 'Content-Type': 'application/json' }}, body: JSON.stringify(body) }}); \
         return [a.status, (await a.json()).code ?? '']; }})()"
    );
    serde_json::from_value(browser.eval(&script)).expect("a status and a code")
}

fn digest(by: &Person, id: &str) -> String {
    by.json(&["request", "show", id])["digest"].as_str().expect("a digest").to_owned()
}

#[test]
fn where_policy_asks_for_a_passkey_nothing_else_is_a_yes() {
    let world = world();
    let (mut task, again, id) = ask(&world, "/v1/paid/1");
    let id = id.as_str().expect("an id");
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let said = bo.cli(&["request", "approve", id, "--digest", &digest(&bo, id)]);
    let page = format!("{}/#r={id}", world.accredit.url());
    assert!(
        said.code != 0 && said.stderr.contains("passkey_needed") && said.stderr.contains(&page),
        "{}",
        said.stderr
    );
    let mut browser = Browser::sign_in(&world.accredit, "bo@acme.test", "approver");
    browser.open(&page);
    browser.click("#yes-call");
    browser.wait_for("document.getElementById('said').textContent.startsWith('You have no passkey here.')");
    browser.add_authenticator("internal");
    browser.register_passkey();
    assert_eq!(browser.eval("document.querySelectorAll('#main li').length"), 1);
    browser.open(&page);
    browser.click("#yes-call");
    browser.wait_for("document.getElementById('said').textContent === 'The request is granted.'");
    let done = task.run(&again);
    assert!(!done.contains("approval_pending"), "{done}");
    assert_eq!(world.acted_on("/v1/paid/1"), 1);
    let shown = bo.json(&["request", "show", id]);
    assert_eq!(
        (&shown["status"], &shown["yes"][0]["passkey"]),
        (&json!("consumed"), &json!(true)),
        "{shown}"
    );
    assert!(bo.cli(&["request", "show", id]).ok().stdout.contains(" by passkey "));
    // Which device it was is in the ledger.
    let of = |kind: &str, member: &str| {
        let all = world.accredit.json(&["audit", "search", "--kind", kind]);
        let is_ours = |entry: &&Value| {
            let fields = &entry["fields"];
            fields["operator"] == "bo@acme.test" || fields["request"] == id
        };
        let ours = all.as_array().expect("a list").iter().find(is_ours).expect("it is there");
        ours["fields"][member].as_str().expect("the key is named").to_owned()
    };
    assert_eq!(of("request.answered", "key"), of("operator.passkey_added", "passkey"));
    world.accredit.cli(&["audit", "verify"]).ok();
}

#[test]
fn what_a_device_signed_counts_for_what_was_shown_in_this_session_alone() {
    let world = world();
    let cy = Person::sign_in(&world.accredit, "cy@acme.test", "approver");
    let (_one, _, first) = ask(&world, "/v1/paid/2");
    let (_other, _, second) = ask(&world, "/v1/paid/3");
    let (first, second) = (first.as_str().expect("an id"), second.as_str().expect("an id"));
    let (shown, elsewhere) = (digest(&cy, first), digest(&cy, second));
    let (mut browser, _) = with_passkey(&world, "cy@acme.test");
    let used = format!(
        "window.used ??= await usePasskey(await call('POST', '/v1/requests/{first}/challenge', {{ digest: '{shown}', scope: 'call' }}))"
    );
    let answer = |digest: &str, scope: &str, passkey: &str| {
        format!("(async () => ({{ digest: '{digest}', scope: '{scope}', passkey: {passkey} }}))()")
    };
    let approve = |id: &str| format!("/v1/requests/{id}/approve");
    let refused = (403, "passkey_refused".to_owned());
    for (id, digest, scope, passkey) in [
        (second, &elsewhere, "call", format!("({used})")),
        (first, &shown, "operation", format!("({used})")),
        (first, &shown, "call", format!("{{ ...({used}), id: 'AAAA' }}")),
        (first, &shown, "call", format!("{{ ...({used}), signature: ({used}).client_data }}")),
        (
            first,
            &shown,
            "call",
            format!("{{ ...({used}), client_data: toText(new TextEncoder().encode('{{}}')) }}"),
        ),
    ] {
        assert_eq!(
            call(&mut browser, "POST", &approve(id), &answer(digest, scope, &passkey)),
            refused,
            "{passkey}"
        );
    }
    // A challenge of ours for nothing at all, or for registering, is none for this.
    let registering = "(await usePasskey(await call('POST', '/v1/passkeys/challenge')))";
    assert_eq!(call(&mut browser, "POST", &approve(first), &answer(&shown, "call", registering)), refused);
    // The same person in another browser: what was signed here is nothing there.
    let kept = browser.eval("JSON.stringify(window.used)");
    let kept = kept.as_str().expect("it was signed").to_owned();
    let mut other = Browser::sign_in(&world.accredit, "cy@acme.test", "approver");
    assert_eq!(call(&mut other, "POST", &approve(first), &answer(&shown, "call", &kept)), refused);
    let (status, _) = call(&mut browser, "POST", &approve(first), &answer(&shown, "call", &kept));
    assert_eq!(status, 200);
    assert_eq!(cy.json(&["request", "show", first])["status"], "granted");
    assert_eq!(cy.json(&["request", "show", second])["status"], "pending");
    let refusals = world.accredit.json(&["audit", "search", "--kind", "operator.refused"]);
    let ours = |entry: &&Value| entry["fields"]["code"] == "passkey_refused";
    assert!(refusals.as_array().expect("a list").iter().filter(ours).count() >= 7, "{refusals}");
}

#[test]
fn a_second_device_is_vouched_for_by_the_first_whoever_made_the_link() {
    let world = world();
    let (mut browser, first) = with_passkey(&world, "di@acme.test");
    // An administrator can make a link in their name, and registers nothing with it.
    let mut intruder = Browser::sign_in(&world.accredit, "di@acme.test", "approver");
    intruder.add_authenticator("internal");
    let made = "(async () => await makePasskey({ ...await call('POST', '/v1/passkeys/challenge'), passkeys: [] }))()";
    let refused = call(&mut intruder, "POST", "/v1/passkeys", made);
    assert_eq!(refused, (403, "passkey_not_vouched_for".to_owned()));
    assert_eq!(world.accredit.json(&["operator", "show", "di@acme.test"])["passkeys"], 1);
    // The first device vouches for the second, which is another one.
    browser.eval("(async () => { window.voucher = await usePasskey(await call('POST', '/v1/passkeys/challenge')); })()");
    browser.leave_authenticator(&first);
    browser.add_authenticator("usb");
    let vouched = "(async () => ({ ...await makePasskey(await call('POST', '/v1/passkeys/challenge')), \
                   voucher: window.voucher }))()";
    let (status, code) = call(&mut browser, "POST", "/v1/passkeys", vouched);
    assert_eq!(status, 201, "{code}");
    assert_eq!(world.accredit.json(&["operator", "show", "di@acme.test"])["passkeys"], 2);
    // All lost: somebody else takes them away, which is in the ledger, and the next is the first again.
    let change = ["operator", "change", "di@acme.test", "--drop-passkeys", "--reason", "lost both"];
    world.accredit.cli(&change).ok();
    assert_eq!(world.accredit.json(&["operator", "show", "di@acme.test"])["passkeys"], 0);
    let (status, code) = call(&mut intruder, "POST", "/v1/passkeys", made);
    assert_eq!(status, 201, "{code}");
    let taken = intruder.eval(
        "(async () => { const [one] = (await call('GET', '/v1/passkeys')).passkeys; \
         await call('DELETE', '/v1/passkeys/' + one.id); return (await call('GET', '/v1/passkeys')).passkeys.length; })()",
    );
    assert_eq!(taken, 0);
}
