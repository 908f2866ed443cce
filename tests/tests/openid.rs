//! People sign in through a real OpenID provider, in a real browser, and what the provider says later is heard.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use accredit_tests::browser::Browser;
use accredit_tests::harness::{Accredit, Setup, free_port, tool};
use accredit_tests::person::Person;
use serde_json::{Value, json};

/// An authority that knows a provider, and the provider.
struct Both {
    accredit: Accredit,
    port: u16,
    provider: Child,
}

static BOTH: Mutex<Weak<Both>> = Mutex::new(Weak::new());

impl Both {
    fn start() -> Self {
        let port = free_port();
        let config = format!(
            "[people.openid]\nissuer = \"http://localhost:{port}\"\nclient_id = \"accredit\"\n\
             client_secret = \"${{env:OPENID_SECRET}}\""
        );
        let environment = vec![("OPENID_SECRET".to_owned(), "a secret: with % signs".to_owned())];
        let accredit = Accredit::start(Setup { config, environment, ..Setup::at_localhost() });
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/provider.mjs");
        let mut provider = Command::new(tool("node/node_modules/.bin/node"))
            .arg(script)
            .arg(tool("node/node_modules"))
            .args([port.to_string(), accredit.url()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("node: run scripts/setup-tests");
        let mut lines = BufReader::new(provider.stdout.take().expect("it has an output")).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the provider did not start");
        // Whoever prints to nobody stops.
        std::thread::spawn(move || lines.count());
        Self { accredit, port, provider }
    }

    fn add(&self, name: &str, roles: &[&str]) {
        let roles = roles.iter().flat_map(|role| ["--role", *role]);
        let arguments: Vec<&str> = ["operator", "add", name].into_iter().chain(roles).collect();
        self.accredit.cli(&arguments).ok();
    }

    /// What the provider tells Accredit, and the status that it gets.
    #[track_caller]
    fn emit(&self, what: &Value) -> String {
        let mut stream = TcpStream::connect(("localhost", self.port)).expect("the provider is there");
        let body = what.to_string();
        let head = "POST /emit HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length:";
        write!(stream, "{head} {}\r\n\r\n{body}", body.len()).expect("sent");
        let answer = std::io::read_to_string(stream).expect("an answer");
        let of_status = |line: &&str| line.len() == 3 && line.bytes().all(|b| b.is_ascii_digit());
        answer.split("\r\n").find(of_status).unwrap_or(&answer).to_owned()
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        let _ = self.provider.kill();
        let _ = self.provider.wait();
    }
}

fn both() -> Arc<Both> {
    let mut kept = BOTH.lock().unwrap_or_else(PoisonError::into_inner);
    kept.upgrade().unwrap_or_else(|| {
        let made = Arc::new(Both::start());
        *kept = Arc::downgrade(&made);
        made
    })
}

/// Says at the provider who one is, and agrees.
#[track_caller]
fn at_provider(browser: &mut Browser, name: &str) {
    browser.wait_for("document.querySelector('input[name=login]') !== null");
    browser.eval(&format!(
        "document.querySelector('input[name=login]').value = '{name}'; \
         document.querySelector('input[name=password]').value = 'whatever'"
    ));
    browser.click("button[type=submit]");
    browser.wait_for("document.querySelector('input[name=prompt][value=consent]') !== null");
    browser.click("button[type=submit]");
}

/// Goes to the provider and comes back, let in or not.
#[track_caller]
fn come_back(both: &Both, name: &str, role: Option<&str>) -> Browser {
    let mut browser = Browser::start();
    browser.open(&both.accredit.url());
    browser.wait_for("document.querySelector('#by-provider') !== null");
    if let Some(role) = role {
        browser.eval(&format!("document.querySelector('#role').value = '{role}'"));
    }
    browser.click("#by-provider");
    at_provider(&mut browser, name);
    browser.wait_for(
        "document.querySelector('h1')?.textContent === 'Waiting for a person' \
         || Boolean(document.querySelector('#said')?.textContent)",
    );
    browser
}

const WHO: &str = "document.getElementById('who').textContent";
const STATUS: &str = "fetch('/v1/whoami', { headers: { 'Accredit-Page': '1' } }).then(a => a.status)";

#[track_caller]
fn said(browser: &mut Browser) -> String {
    let said = browser.eval("document.getElementById('said').textContent");
    said.as_str().expect("a text").to_owned()
}

#[track_caller]
fn entries(both: &Both, kind: &str) -> Vec<Value> {
    let all = both.accredit.json(&["audit", "search", "--kind", kind]);
    all.as_array().expect("a list").iter().map(|entry| entry["fields"].clone()).collect()
}

#[test]
fn a_person_signs_in_through_the_provider_and_takes_the_session_to_a_terminal() {
    let both = both();
    both.add("bo@acme.test", &["approver", "auditor"]);
    let mut browser = come_back(&both, "bo", Some("auditor"));
    assert_eq!(browser.eval(WHO), "bo@acme.test (auditor)");
    assert_eq!(browser.eval("location.pathname + location.search"), "/", "nothing stays in the address");
    assert_eq!(browser.eval("document.cookie"), "", "no script reads the session");
    let bound = |both: &Both| {
        let all = entries(both, "operator.identity_bound");
        let ours = |fields: &&Value| fields["operator"] == "bo@acme.test" && fields["subject"] == "bo";
        all.iter().filter(ours).count()
    };
    assert_eq!(bound(&both), 1);
    assert!(entries(&both, "operator.signed_in").iter().any(|fields| fields["method"] == "openid over tcp"));
    // The second time by the provider's own name, and nothing is bound anew.
    let mut again = come_back(&both, "bo", None);
    let shown = again.eval(WHO);
    assert!(shown.as_str().is_some_and(|shown| shown.starts_with("bo@acme.test (")), "{shown}");
    assert_eq!(bound(&both), 1);
    again.click("#terminal");
    again.wait_for("document.querySelector('#login') !== null");
    let line = again.eval("document.querySelector('#login').textContent");
    let link = line.as_str().expect("a line").split('\'').nth(1).expect("a link").to_owned();
    let bo = Person::away(&both.accredit);
    bo.cli(&["login", &link]).ok();
    let requests = bo.json(&["request", "ls"]);
    assert_eq!(requests, json!([]));
}

#[test]
fn who_is_not_registered_or_not_verified_or_somebody_else_does_not_get_in() {
    let both = both();
    both.add("mallory@acme.test", &["admin"]);
    both.add("cy@acme.test", &["approver"]);
    for (name, role, why) in [
        ("eve", None, "eve@acme.test is not registered here"),
        ("mallory", None, "somebody without a verified address"),
        ("cy", Some("admin"), "does not have that role"),
    ] {
        let mut browser = come_back(&both, name, role);
        let told = said(&mut browser);
        assert!(told.contains(why), "{name}: {told}");
        assert_eq!(browser.eval(STATUS), 401, "{name}");
    }
    // Somebody else with the same address: an account that was deleted there and made anew.
    assert_eq!(come_back(&both, "cy", None).eval(WHO), "cy@acme.test (approver)");
    let mut other = come_back(&both, "cy~2", None);
    let told = said(&mut other);
    assert!(told.contains("somebody else at the provider"), "{told}");
    let refused = entries(&both, "operator.sign_in_refused");
    for code in ["not_registered", "role_not_held", "another_identity"] {
        assert!(refused.iter().any(|fields| fields["code"] == code), "{code} in {refused:?}");
    }
}

#[test]
fn nobody_is_signed_in_on_a_way_that_somebody_else_began() {
    let both = both();
    both.add("di@acme.test", &["approver"]);
    let mut attacker = Browser::start();
    attacker.open(&both.accredit.url());
    attacker.wait_for("document.querySelector('#by-provider') !== null");
    let address = attacker.eval(
        "fetch('/v1/sessions/openid/begin', { method: 'POST', headers: { 'Accredit-Page': '1', \
         'Content-Type': 'application/json' }, body: '{}' }).then(a => a.json()).then(b => b.address)",
    );
    let mut victim = Browser::start();
    victim.open(address.as_str().expect("an address"));
    at_provider(&mut victim, "di");
    victim.wait_for(
        "document.querySelector('#said')?.textContent.includes('did not begin to sign in') === true",
    );
    assert_eq!(victim.eval(STATUS), 401);
    // Nor does another page begin it.
    let bare = attacker.eval(
        "fetch('/v1/sessions/openid/begin', { method: 'POST', headers: { 'Content-Type': 'application/json' }, \
         body: '{}' }).then(a => a.status)",
    );
    assert_eq!(bare, 403);
}

#[test]
fn what_the_provider_ends_is_over_here() {
    let both = both();
    both.add("fi@acme.test", &["approver"]);
    let mut browser = come_back(&both, "fi", None);
    assert_eq!(browser.eval(STATUS), 200);
    let revoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
    let disabled = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
    let issuer = format!("http://localhost:{}", both.port);
    let event = |event: &str, more: Value| {
        let mut all = json!({
            "path": "/v1/openid/events", "typ": "secevent+jwt",
            "claims": { "sub_id": { "format": "iss_sub", "iss": issuer, "sub": "fi" }, "events": { event: {} } },
        });
        all.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        all
    };
    for (why, emitted) in [
        ("another key", event(revoked, json!({ "foreign": true }))),
        ("an old one", event(revoked, json!({ "age": 3600 }))),
        ("another type", event(revoked, json!({ "typ": "JWT" }))),
        ("another event", event("https://example.test/event", json!({}))),
        ("of nobody", event(revoked, json!({ "claims": { "events": { revoked: {} } } }))),
    ] {
        assert_eq!(both.emit(&emitted), "400", "{why}");
        assert_eq!(browser.eval(STATUS), 200, "{why}");
    }
    assert_eq!(both.emit(&event(revoked, json!({}))), "202");
    assert_eq!(browser.eval(STATUS), 401);
    // A logout token, as providers send it when somebody signs out there.
    let mut browser = come_back(&both, "fi", None);
    assert_eq!(browser.eval(STATUS), 200);
    let token = json!({
        "path": "/v1/openid/backchannel-logout", "typ": "logout+jwt",
        "claims": { "sub": "fi", "events": { "http://schemas.openid.net/event/backchannel-logout": {} } },
    });
    assert_eq!(both.emit(&token), "200");
    assert_eq!(browser.eval(STATUS), 401);
    // The account is gone: so is the operator.
    let mut browser = come_back(&both, "fi", None);
    assert_eq!(both.emit(&event(disabled, json!({}))), "202");
    assert_eq!(browser.eval(STATUS), 401);
    let shown = both.accredit.json(&["operator", "show", "fi@acme.test"]);
    assert_eq!(shown["standing"], "lapsed", "{shown}");
    both.accredit.cli(&["audit", "verify"]).ok();
}
