//! A control plane with a real store in a folder of its own, listening on TCP and on a socket, and a client that says
//! exactly what it is told to.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its part; a test stops at what it did not expect"
)]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use accredit_authority::Authority;
use accredit_authority::settings::{Database, Settings};
use accredit_core::boundary::Boundary;
use accredit_core::id::{TemplateName, TenantName};
use accredit_core::resource::Mode;
use accredit_core::template::Template;
use accredit_server::{App, Listener, serve};
use accredit_vault::KeySource;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

pub const TENANT: &str = "canary-tenant";
pub const ISSUER: &str = "https://accredit.example";

pub struct Plane {
    pub authority: Arc<Authority>,
    pub folder: tempfile::TempDir,
    tcp: std::net::SocketAddr,
    socket: PathBuf,
    _stop: watch::Sender<bool>,
}

/// The way a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Tcp,
    Socket,
}

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The answer, which must have this status.
    pub fn must(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The code of a problem, which must have its four parts.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.headers.get("content-type").map(String::as_str),
            Some("application/problem+json"),
            "{}",
            self.text
        );
        let json = self.json();
        assert_eq!(json["status"], self.status);
        for part in ["type", "title", "detail", "code"] {
            assert!(json[part].as_str().is_some_and(|t| !t.is_empty()), "{part}: {}", self.text);
        }
        json["code"].as_str().unwrap().to_owned()
    }
}

pub fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

impl Plane {
    pub async fn start() -> Self {
        Self::start_as(own_uid()).await
    }

    /// A server that believes to run as this user.
    pub async fn start_as(uid: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let grants = Boundary::parse(["api: GET *"]).unwrap();
        let settings = Settings {
            database: Database::Embedded,
            data_dir: folder.path().to_owned(),
            head_path: folder.path().join("head"),
            tenant: TenantName::parse(TENANT).unwrap(),
            trust_domain: "accredit.example".to_owned(),
            issuer: ISSUER.to_owned(),
            gateway_url: "https://gateway.example".to_owned(),
            key: KeySource::File(folder.path().join("key")),
            templates: vec![Template {
                name: TemplateName::parse("read").unwrap(),
                boundary: grants,
                ttl_s: 600,
            }],
            task_ttl_s_max: 3_600,
            default_mode: Mode::Enforce,
            hold_for: std::time::Duration::ZERO,
            rules: accredit_core::deviation::Rule::defaults().into(),
            queue_max: 256,
            openid: None,
            witnesses: Vec::new(),
        };
        let authority = Authority::open(settings, false).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = listener.local_addr().unwrap();
        let socket = folder.path().join("socket");
        let unix = UnixListener::bind(&socket).unwrap();
        let app = App::new(authority.clone(), uid);
        app.set_gateway_ca("-----BEGIN CERTIFICATE-----\n");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(Listener::Tcp(listener), app.clone(), stopped.clone()));
        tokio::spawn(serve(Listener::Unix(unix), app, stopped));
        Self { authority, folder, tcp, socket, _stop: stop }
    }

    pub async fn send(
        &self,
        way: Way,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", "somewhere.else");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        match way {
            Way::Tcp => exchange(TokioIo::new(TcpStream::connect(self.tcp).await.unwrap()), request).await,
            Way::Socket => {
                exchange(TokioIo::new(UnixStream::connect(&self.socket).await.unwrap()), request).await
            }
        }
    }

    pub async fn call(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_by(Way::Tcp, token, method, path, body).await
    }

    pub async fn call_by(
        &self,
        way: Way,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        self.send(way, method, path, &headers, body.map(|b| b.to_string().into_bytes()).unwrap_or_default())
            .await
    }

    pub async fn post(&self, way: Way, path: &str, body: Value) -> Answer {
        self.send(way, "POST", path, &[("content-type", "application/json")], body.to_string().into_bytes())
            .await
    }

    /// The code of a new one-time link, made through the socket: for ana, who administers, or for somebody with the role.
    pub async fn link(&self, role: &str) -> String {
        let name = if role == "admin" { "ana@corp".to_owned() } else { format!("{role}@corp") };
        self.link_of(&name, role).await
    }

    /// The same for somebody.
    pub async fn link_of(&self, name: &str, role: &str) -> String {
        let body = json!({ "operator": name, "role": role });
        let answer = self.post(Way::Socket, "/v1/links", body).await.must(201);
        answer.json()["code"].as_str().unwrap().to_owned()
    }

    /// The token of a new session.
    pub async fn sign_in(&self, way: Way, role: &str) -> String {
        let code = self.link(role).await;
        self.redeem(way, &code).await
    }

    /// The token of the session that a link becomes.
    pub async fn redeem(&self, way: Way, code: &str) -> String {
        let answer = self.post(way, "/v1/sessions", json!({ "link_code": code })).await.must(201);
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    pub async fn admin(&self) -> String {
        self.sign_in(Way::Tcp, "admin").await
    }

    /// An owner, a resource `api` and its credential `key`, with this value.
    pub async fn furnish(&self, admin: &str, value: &str) {
        self.call(admin, "POST", "/v1/owners", Some(json!({ "owner": "team:pay" }))).await.must(201);
        let resource = json!({
            "name": "api", "owner": "team:pay", "environment": "prod", "sensitivity": "internal",
            "endpoints": ["https://api.example"],
        });
        self.call(admin, "POST", "/v1/resources", Some(resource)).await.must(201);
        let credential = json!({
            "name": "key", "resource": "api", "owner": "team:pay", "placement": { "in": "header", "field": "x-api-key" },
        });
        self.call(admin, "POST", "/v1/credentials", Some(credential)).await.must(201);
        self.call(admin, "PUT", "/v1/credentials/key/secret", Some(json!({ "value": value })))
            .await
            .must(200);
    }

    /// The kinds of all entries so far, oldest first, each with its fields.
    pub async fn entries(&self, admin: &str) -> Vec<(String, Value)> {
        let page = self.call(admin, "GET", "/v1/audit/entries?limit=500", None).await.must(200).json();
        let entries = page["items"].as_array().unwrap().iter().rev();
        entries.map(|e| (e["kind"].as_str().unwrap().to_owned(), e["fields"].clone())).collect()
    }
}

async fn exchange<S>(stream: TokioIo<S>, request: hyper::Request<Full<Bytes>>) -> Answer
where
    TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let of = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let headers = response.headers().iter().map(of).collect();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, headers, text: String::from_utf8_lossy(&body).into_owned() }
}
