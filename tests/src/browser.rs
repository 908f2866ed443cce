//! A real browser: Chromium without a window, spoken to over its DevTools protocol, through the two pipes that it was started
//! with.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Accredit, WAIT};

/// How often a page is looked at while a test waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One browser with a profile of its own and one page.
pub struct Browser {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    _profile: TempDir,
}

impl Browser {
    /// Starts it with an empty page.
    ///
    /// # Panics
    /// When it cannot be started: `scripts/setup-tests` installs it.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        let profile = tempfile::Builder::new().prefix("accredit-browser-").tempdir().expect("a directory");
        let mut command = Command::new("sh");
        // It reads from descriptor 3 and writes to 4.
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", "chromium"]);
        command.args(["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"]);
        // The sandbox wants a user that is not root; what is shown here is our own.
        command.args(["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let mut child = command
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let stdin = child.stdin.take().expect("it has an input");
        let stdout = BufReader::new(child.stdout.take().expect("it has an output"));
        let mut browser = Self { child, stdin, stdout, session: None, calls: 0, _profile: profile };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = Some(attached["sessionId"].as_str().expect("a session").to_owned());
        browser.call("Page.enable", json!({}));
        browser
    }

    /// Starts it, and signs somebody in on the authority's page with a link that an administrator made.
    ///
    /// # Panics
    /// When the page does not let them in.
    #[track_caller]
    #[must_use]
    pub fn sign_in(accredit: &Accredit, name: &str, role: &str) -> Self {
        let mut browser = Self::start();
        let made = accredit.json(&["login", "--link", "--operator", name, "--role", role]);
        browser.open(&format!("{}/#l={}", accredit.url(), made["code"].as_str().expect("a code")));
        browser.click("#sign-in");
        browser.wait_for("document.querySelector('h1')?.textContent === 'Waiting for a person'");
        browser
    }

    /// Registers a passkey of whoever is signed in, on a device that is there.
    ///
    /// # Panics
    /// When the page does not say that it did.
    #[track_caller]
    pub fn register_passkey(&mut self) {
        self.click("#passkeys");
        self.wait_for("document.querySelector('h1')?.textContent === 'Your passkeys'");
        self.click("#register");
        self.wait_for("document.getElementById('said').textContent === 'The passkey is registered.'");
    }

    /// One call of the protocol. Gives its result.
    ///
    /// # Panics
    /// When the browser refuses it or has gone.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.stdin.write_all(&bytes).expect("chromium listens: run scripts/setup-tests");
        loop {
            let mut bytes = Vec::new();
            self.stdout.read_until(0, &mut bytes).expect("chromium answers");
            assert_eq!(bytes.pop(), Some(0), "chromium has gone, or is missing: run scripts/setup-tests");
            let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
            // Whatever else it tells is nothing that a test waits for.
            if answer["id"] == self.calls {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Gives this browser a device that keeps passkeys and takes whoever is there for the one it knows, at once: one that
    /// is built in (`internal`), or beside it one that is plugged in (`usb`). Gives its name.
    ///
    /// # Panics
    /// When the browser cannot.
    #[track_caller]
    pub fn add_authenticator(&mut self, transport: &str) -> String {
        self.call("WebAuthn.enable", json!({}));
        let options = json!({
            "protocol": "ctap2", "transport": transport, "hasResidentKey": true, "hasUserVerification": true,
            "isUserVerified": true, "automaticPresenceSimulation": true,
        });
        let added = self.call("WebAuthn.addVirtualAuthenticator", json!({ "options": options }));
        added["authenticatorId"].as_str().expect("an id").to_owned()
    }

    /// Nobody touches this device any more.
    ///
    /// # Panics
    /// When the browser cannot.
    #[track_caller]
    pub fn leave_authenticator(&mut self, id: &str) {
        let nobody = json!({ "authenticatorId": id, "enabled": false });
        self.call("WebAuthn.setAutomaticPresenceSimulation", nobody);
    }

    /// Opens an address, as somebody who follows a link does.
    ///
    /// # Panics
    /// When the browser has gone.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        // A change of the fragment alone would load nothing anew.
        self.call("Page.navigate", json!({ "url": "about:blank" }));
        self.wait_for("location.href === 'about:blank'");
        self.call("Page.navigate", json!({ "url": url }));
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'");
    }

    /// What an expression is on the page.
    ///
    /// # Panics
    /// When it throws.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let wanted = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", wanted);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When it does not become true, with what the page shows.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        let started = Instant::now();
        // A page that is just being left has no place to look at.
        let wanted = json!({ "expression": expression, "returnByValue": true });
        while self.call("Runtime.evaluate", wanted.clone())["result"]["value"] != true {
            if started.elapsed() > WAIT {
                let shown = self.eval("document.documentElement.outerHTML");
                panic!("`{expression}` did not become true on {shown}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Clicks where the element is, once it is there.
    ///
    /// # Panics
    /// When it is not there in time.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let there = format!("[document.querySelector('{selector}')].some(e => e && e.disabled !== true)");
        self.wait_for(&there);
        let place = self.eval(&format!(
            "(() => {{ const e = document.querySelector('{selector}'); e.scrollIntoView(); \
             const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
