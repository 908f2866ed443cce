//! People sign in and answer in a real browser, and nobody else gets their browser to do it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use accredit_tests::browser::Browser;
use accredit_tests::harness::{Run, Setup};
use accredit_tests::person::Person;
use accredit_tests::shell::Shell;
use accredit_tests::world::{World, shared};
use serde_json::{Value, json};

static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());

fn world() -> Arc<World> {
    shared(&WORLD, || {
        let world = World::start(Setup::default());
        world.enrol("shop-coder");
        world
    })
}

/// An address that signs somebody in.
#[track_caller]
fn link(world: &World, name: &str, role: &str) -> String {
    let made = world.accredit.json(&["login", "--link", "--operator", name, "--role", role]);
    format!("{}/#l={}", world.accredit.url(), made["code"].as_str().expect("a code"))
}

/// A task that asks about a deletion. Gives the shell, the call and the request's id.
#[track_caller]
fn ask(world: &World, what: &str) -> (Shell, String, String) {
    let mut task = Shell::start(&world.accredit, &Run::of("shop-coder", &["orders: *"]));
    let call = format!("curl -sS -w ' %{{http_code}}' -X DELETE {what}");
    let said = task.run(&call);
    let problem: Value = serde_json::from_str(said.lines().next().unwrap_or_default()).expect(&said);
    let id = problem["request"].as_str().expect("the request is named").to_owned();
    (task, call, id)
}

/// The rows of the page: name and text.
fn rows(browser: &mut Browser) -> Vec<(String, String)> {
    let rows = "[...document.querySelectorAll('dl dt')].map(t => [t.textContent, t.nextSibling.textContent])";
    serde_json::from_value(browser.eval(rows)).expect("rows")
}

#[test]
fn a_person_signs_in_sees_what_the_command_shows_and_says_yes_once() {
    let world = world();
    let body = r#"'{"note":"<img src=x onerror=alert(1)>"}'"#;
    let (mut task, call, id) = ask(&world, &format!("-d {body} '{}?a=1'", world.url("/v1/orders/71")));
    let mut browser = Browser::sign_in(&world.accredit, "bo@acme.test", "approver");
    assert_eq!(browser.eval("location.hash"), "", "the code is gone from the address");
    assert_eq!(browser.eval("document.cookie"), "", "no script reads the session");
    assert_eq!(browser.eval("document.getElementById('who').textContent"), "bo@acme.test (approver)");
    browser.click(&format!("a[href=\"#r={id}\"]"));
    browser.wait_for("document.querySelectorAll('dl dt').length > 10");
    let shown = rows(&mut browser);
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let said = bo.cli(&["request", "show", &id]).ok().stdout;
    // Line by line the same; how long there is left has gone on.
    let moving = |name: &str| name == "expires";
    let texts: Vec<_> = shown.iter().filter(|(name, _)| !moving(name)).collect();
    for (name, text) in &texts {
        let same = said.lines().any(|line| line.starts_with(name.as_str()) && line.ends_with(text.as_str()));
        assert!(same, "{name}: {text}\n{said}");
    }
    assert_eq!(shown.len(), said.lines().count(), "{said}");
    assert!(texts.iter().any(|(_, text)| text.contains("<img src=x")), "{shown:?}");
    assert_eq!(browser.eval("document.images.length"), 0);
    browser.click("#yes-call");
    browser.wait_for("document.getElementById('said').textContent === 'The request is granted.'");
    assert!(task.run(&call).ends_with(" 204"));
    assert_eq!(world.acted_on("/v1/orders/71"), 1);
    let used = bo.json(&["request", "show", &id]);
    assert_eq!(
        (used["status"].as_str(), used["yes"][0]["by"].as_str()),
        (Some("consumed"), Some("bo@acme.test"))
    );
}

#[test]
fn a_no_reaches_the_agent_with_its_reason_and_signing_out_ends_the_session() {
    let world = world();
    let (mut task, call, id) = ask(&world, &world.url("/v1/orders/72"));
    let mut browser = Browser::sign_in(&world.accredit, "bo@acme.test", "approver");
    browser.open(&format!("{}/#r={id}", world.accredit.url()));
    browser.wait_for("document.getElementById('reason') !== null");
    browser.eval("document.getElementById('reason').value = 'use the staging copy'");
    browser.click("#no");
    browser.wait_for("document.getElementById('said').textContent === 'The request is denied.'");
    assert!(task.run(&call).contains("use the staging copy"));
    browser.click("#out");
    browser.wait_for("document.querySelector('h1')?.textContent === 'Sign in'");
    let status =
        browser.eval("fetch('/v1/whoami', { headers: { 'Accredit-Page': '1' } }).then(a => a.status)");
    assert_eq!(status, 401);
}

/// Another site on this machine: one page for whoever asks.
fn elsewhere(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length:";
            let _ = write!(stream, "{head} {}\r\n\r\n{page}", page.len());
        }
    });
    url
}

fn status(arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"]).args(arguments);
    String::from_utf8_lossy(&curl.output().expect("curl").stdout).into_owned()
}

// case: APR-09
#[test]
fn opening_a_link_forging_a_form_and_framing_the_page_change_nothing() {
    let world = world();
    let (mut task, call, id) = ask(&world, &world.url("/v1/orders/73"));
    let url = world.accredit.url();
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let digest = bo.json(&["request", "show", &id])["digest"].as_str().expect("a digest").to_owned();
    // What scans a mail opens every address in it, some with a browser.
    let mail = link(&world, "cy@acme.test", "approver");
    let mut scanner = Browser::start();
    for address in [mail.clone(), format!("{url}/#r={id}")] {
        assert_eq!(status(&[address.as_str()]), "200");
        scanner.open(&address);
        scanner.wait_for("document.querySelector('h1') !== null");
    }
    for answer in ["approve", "deny", "withdraw"] {
        assert_eq!(status(&[&format!("{url}/v1/requests/{id}/{answer}")]), "405");
    }
    // The one for whom the link is signs in with it all the same, and then visits somewhere else.
    let mut browser = Browser::start();
    browser.open(&mail);
    browser.click("#sign-in");
    browser.wait_for("document.querySelector('h1')?.textContent === 'Waiting for a person'");
    let yes = json!({ "digest": digest, "scope": "call" }).to_string();
    let forged = format!(
        "<!doctype html><iframe name=to src='{url}/#r={id}'></iframe><iframe name=answer></iframe>\
         <form id=f method=post enctype=text/plain target=answer action='{url}/v1/requests/{id}/approve'>\
         <input name='{}' value='{}'></form><script>window.sent = 0; document.getElementById('f').submit();\
         for (const headers of [{{ 'Content-Type': 'text/plain' }}, {{ 'Content-Type': 'application/json' }}, \
         {{ 'Content-Type': 'application/json', 'Accredit-Page': '1' }}]) \
         for (const mode of ['no-cors', 'cors']) \
         fetch('{url}/v1/requests/{id}/approve', {{ method: 'POST', mode, headers, credentials: 'include', body: '{yes}' }})\
         .catch(() => 0).then(() => window.sent++);</script>",
        &yes[..yes.len() - 2],
        &yes[yes.len() - 2..],
    );
    // Another port of the same host is the same site for cookies: it is sent along, and is not enough.
    browser.open(&elsewhere(forged));
    browser.wait_for("window.sent === 6");
    let frames = browser.call("Page.getFrameTree", json!({}));
    let framed = frames["frameTree"]["childFrames"][0]["frame"]["url"].as_str().unwrap_or_default();
    assert!(framed.starts_with("chrome-error:"), "the page is framed: {frames}");
    assert_eq!(bo.json(&["request", "show", &id])["status"], "pending");
    assert_eq!(world.acted_on("/v1/orders/73"), 0);
    // The same words from the page itself are an answer.
    browser.open(&format!("{url}/#r={id}"));
    browser.click("#yes-call");
    browser.wait_for("document.getElementById('said').textContent === 'The request is granted.'");
    assert!(task.run(&call).ends_with(" 204"));
}
