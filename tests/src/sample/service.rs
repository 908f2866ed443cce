//! What the sample service answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;

use super::bodies::{self, Body, Tally, whole};
use super::effects::{Effect, EffectLog, Event, now_ns};
use super::git;
use super::keys::{Carried, Key};

/// Largest order that is taken, in bytes.
const ORDER_BYTES_MAX: usize = 64 * 1024;
/// Largest download, in megabytes.
const DOWNLOAD_MB_MAX: u64 = 4_096;

/// What all connections share.
pub(crate) struct Service {
    pub(crate) key: Key,
    pub(crate) effects: Arc<EffectLog>,
    pub(crate) repositories: PathBuf,
    pub(crate) orders: AtomicU64,
}

impl Service {
    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        connection: u64,
        peer: IpAddr,
    ) -> Response<Body> {
        let carried = self.key.carried(request.headers());
        let mut effect = Effect {
            ns: 0,
            event: if carried.is_some() { Event::Acted } else { Event::Refused },
            connection,
            peer: peer.to_string(),
            key: carried.map(|_| "the one key".to_owned()),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            status: 0,
            traceparent: text_of(&request, "traceparent"),
            head_sha256: head_digest(&request, carried),
            bytes: None,
        };
        if carried.is_none() {
            self.log(&mut effect, StatusCode::UNAUTHORIZED);
            return unauthorized();
        }
        self.act(request, effect).await
    }

    async fn act(&self, request: Request<Incoming>, mut effect: Effect) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let query = query_of(&request);
        let number =
            |name: &str, default: u64| query.get(name).and_then(|v| v.parse().ok()).unwrap_or(default);
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method().as_str(), segments.as_slice()) {
            ("GET" | "HEAD", ["v1", "orders"]) => {
                self.log(&mut effect, StatusCode::OK);
                json_answer(StatusCode::OK, &json!({"orders": [order("17"), order("18")]}))
            }
            ("GET" | "HEAD", ["v1", "orders", id]) => {
                self.log(&mut effect, StatusCode::OK);
                json_answer(StatusCode::OK, &order(id))
            }
            ("POST", ["v1", "orders"]) => self.create(request, effect).await,
            ("PUT" | "PATCH", ["v1", "orders", id]) => {
                let id = (*id).to_owned();
                let _ = request.into_body().collect().await;
                self.log(&mut effect, StatusCode::OK);
                json_answer(StatusCode::OK, &order(&id))
            }
            ("DELETE", ["v1", "orders", _]) => {
                self.log(&mut effect, StatusCode::NO_CONTENT);
                let mut response = Response::new(whole(""));
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            ("GET", ["v1", "echo"]) => self.echo(&request, &query, effect),
            ("GET", ["v1", "stream"]) => {
                self.log(&mut effect, StatusCode::OK);
                let tally = Tally::new(self.effects.clone(), effect);
                streamed("text/event-stream", bodies::events(tally, number("n", u64::MAX)))
            }
            ("GET", ["v1", "download"]) => {
                self.log(&mut effect, StatusCode::OK);
                let bytes = number("mb", 1).min(DOWNLOAD_MB_MAX) * 1_000_000;
                let tally = Tally::new(self.effects.clone(), effect);
                let mut response = streamed("application/octet-stream", bodies::download(tally, bytes));
                response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
                response
            }
            ("GET", ["v1", "redirect"]) => self.redirect(&request, &query, effect),
            ("POST" | "PUT", ["v1", "upload"]) => self.upload(request, effect).await,
            ("GET" | "POST", ["git", repository, rest @ ..]) if repository.ends_with(".git") => {
                let path_info = format!("/{repository}/{}", rest.join("/"));
                self.log(&mut effect, StatusCode::OK);
                git::backend(&self.repositories, request, &path_info).await
            }
            _ => {
                self.log(&mut effect, StatusCode::NOT_FOUND);
                json_answer(StatusCode::NOT_FOUND, &json!({"error": "there is nothing here"}))
            }
        }
    }

    /// Takes an order and gives back its number with what was sent.
    async fn create(&self, request: Request<Incoming>, mut effect: Effect) -> Response<Body> {
        let limited = http_body_util::Limited::new(request.into_body(), ORDER_BYTES_MAX);
        // A body that breaks off is an order that was never placed.
        let Ok(body) = limited.collect().await.map(http_body_util::Collected::to_bytes) else {
            self.log(&mut effect, StatusCode::BAD_REQUEST);
            return json_answer(StatusCode::BAD_REQUEST, &json!({"error": "the order could not be read"}));
        };
        let id = self.orders.fetch_add(1, Ordering::Relaxed) + 1;
        self.log(&mut effect, StatusCode::CREATED);
        let order = json!({"id": id, "received": String::from_utf8_lossy(&body)});
        json_answer(StatusCode::CREATED, &order)
    }

    /// Reads a body to its end and gives back its digest.
    async fn upload(&self, request: Request<Incoming>, mut effect: Effect) -> Response<Body> {
        let mut body = request.into_body();
        let (mut context, mut bytes) = (digest::Context::new(&digest::SHA256), 0_u64);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                self.log(&mut effect, StatusCode::BAD_REQUEST);
                return json_answer(StatusCode::BAD_REQUEST, &json!({"error": "the upload broke off"}));
            };
            if let Some(piece) = frame.data_ref() {
                context.update(piece);
                bytes += piece.len() as u64;
            }
        }
        self.log(&mut effect, StatusCode::OK);
        json_answer(StatusCode::OK, &json!({"bytes": bytes, "sha256": hex(context.finish().as_ref())}))
    }

    /// Gives the request back, key included, in pieces of `piece` bytes (7 unless told); with `header`, the key
    /// also comes back in a header field. What a careless upstream does.
    fn echo(
        &self,
        request: &Request<Incoming>,
        query: &BTreeMap<String, String>,
        mut effect: Effect,
    ) -> Response<Body> {
        self.log(&mut effect, StatusCode::OK);
        let fields: BTreeMap<&str, String> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let text =
            json!({"method": request.method().as_str(), "headers": fields, "query": query}).to_string();
        let text = match query.get("as").map(String::as_str) {
            Some("events") => format!("data: {text}\n\ndata: end\n\n"),
            _ => text,
        };
        let piece = query.get("piece").and_then(|v| v.parse().ok()).filter(|bytes| *bytes > 0).unwrap_or(7);
        let tally = Tally::new(self.effects.clone(), effect);
        let mut response = streamed("application/json", bodies::pieces(tally, text.into(), piece));
        if query.contains_key("header") {
            for name in ["x-api-key", AUTHORIZATION.as_str()] {
                if let Some(value) = request.headers().get(name) {
                    response.headers_mut().insert("x-echoed-key", value.clone());
                }
            }
        }
        response
    }

    /// Sends the caller elsewhere, with the key in the URL. What a careless upstream does.
    fn redirect(
        &self,
        request: &Request<Incoming>,
        query: &BTreeMap<String, String>,
        mut effect: Effect,
    ) -> Response<Body> {
        let status = query.get("status").and_then(|v| v.parse().ok()).filter(|s| (300..400).contains(s));
        let status = StatusCode::from_u16(status.unwrap_or(302)).unwrap_or(StatusCode::FOUND);
        let to = query.get("to").map_or("https://elsewhere.example/landing", String::as_str);
        let key =
            text_of(request, "x-api-key").or_else(|| text_of(request, "authorization")).unwrap_or_default();
        self.log(&mut effect, status);
        let mut response = Response::new(whole("moved"));
        *response.status_mut() = status;
        let location = HeaderValue::try_from(format!("{to}?key={}", key.replace(' ', "%20")));
        response.headers_mut().insert(LOCATION, location.unwrap_or_else(|_| HeaderValue::from_static("/")));
        response
    }

    fn log(&self, effect: &mut Effect, status: StatusCode) {
        effect.ns = now_ns();
        effect.status = status.as_u16();
        self.effects.append(effect);
    }
}

fn order(id: &str) -> serde_json::Value {
    json!({"id": id, "item": "a lamp", "quantity": 2})
}

fn json_answer(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(whole(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn streamed(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn unauthorized() -> Response<Body> {
    let mut response =
        json_answer(StatusCode::UNAUTHORIZED, &json!({"error": "this service accepts one key"}));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sample\""));
    response
}

fn text_of(request: &Request<Incoming>, name: &str) -> Option<String> {
    request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The pairs of the query, as they stand: nothing in them needs unescaping.
fn query_of(request: &Request<Incoming>) -> BTreeMap<String, String> {
    let pairs = request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

fn head_digest(request: &Request<Incoming>, carried: Option<Carried>) -> String {
    let key_field = match carried {
        Some(Carried::ApiKey) => "x-api-key",
        Some(Carried::Authorization) => "authorization",
        None => "",
    };
    let mut context = digest::Context::new(&digest::SHA256);
    let mut line = |bytes: &[&[u8]]| bytes.iter().chain(&[&b"\n"[..]]).for_each(|part| context.update(part));
    line(&[request.method().as_str().as_bytes()]);
    line(&[request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).as_bytes()]);
    for (name, value) in request.headers().iter().filter(|(name, _)| *name != "traceparent") {
        let shown = if name == key_field { b"" } else { value.as_bytes() };
        line(&[name.as_str().as_bytes(), b": ", shown]);
    }
    hex(context.finish().as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a request changes something.
pub(crate) fn is_post(request: &Request<Incoming>) -> bool {
    *request.method() == Method::POST
}
