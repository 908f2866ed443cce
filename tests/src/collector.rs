//! A collector of traces: a real HTTP server that takes OTLP, keeps the bytes and decodes them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::agent::hex;
use crate::raw::{After, RawUpstream};

/// How it treats what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes it.
    Takes,
    /// Answers with an error.
    Refuses,
    /// Takes the bytes and never answers.
    Hangs,
}

/// One collector on 127.0.0.1.
pub struct Collector {
    server: RawUpstream,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A span as it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Its name.
    pub name: String,
    /// Trace, in hexadecimal.
    pub trace: String,
    /// Its number, in hexadecimal.
    pub span: String,
    /// The number of the span above it; empty: there is none.
    pub parent: String,
    /// Whether it is marked as an error.
    pub failed: bool,
    /// When it began and ended, in nanoseconds since 1970.
    pub between_ns: (u64, u64),
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// The attributes of what sent it.
    pub resource: BTreeMap<String, String>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(manner: Manner) -> io::Result<Self> {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = bodies.clone();
        let server = RawUpstream::start(None, &[], move |head, stream| {
            let length = head.values("content-length").first().and_then(|n| n.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(body);
            match manner {
                Manner::Takes => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?,
                Manner::Refuses => {
                    stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")?;
                }
                Manner::Hangs => std::thread::sleep(Duration::from_secs(3_600)),
            }
            Ok(After::Keep)
        })?;
        Ok(Self { server, bodies })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Requests that arrived, by path.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.server.heads().iter().map(crate::raw::Head::request_line).collect()
    }

    /// Everything that arrived, undecoded.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let heads = self.server.heads().into_iter().map(|head| head.bytes);
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        heads.chain(bodies).flatten().collect()
    }

    /// Every span that arrived.
    ///
    /// # Panics
    /// When something arrived that is no request for the export of traces.
    #[must_use]
    pub fn spans(&self) -> Vec<Arrived> {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut spans = Vec::new();
        for body in bodies {
            let request = ExportTraceServiceRequest::decode(&*body).expect("a request for export");
            for from in request.resource_spans {
                let resource = texts(&from.resource.unwrap_or_default().attributes);
                let of_one = from.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(of_one.map(|span| Arrived::of(&span, &resource)));
            }
        }
        spans
    }
}

impl Arrived {
    fn of(span: &Span, resource: &BTreeMap<String, String>) -> Self {
        Self {
            name: span.name.clone(),
            trace: hex(&span.trace_id),
            span: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            failed: span.status.as_ref().is_some_and(|status| status.code == 2),
            between_ns: (span.start_time_unix_nano, span.end_time_unix_nano),
            attributes: texts(&span.attributes),
            resource: resource.clone(),
        }
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(&pair.value))).collect()
}
