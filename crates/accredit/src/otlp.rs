//! Reports of actions on their way to a collector: OTLP over HTTP, protobuf. Off unless it is configured, and never in
//! the way: reports wait in a bounded queue, and what cannot be sent is dropped and said so in the log, not repeated.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use accredit_authority::Authority;
use accredit_authority::traces::{Report, SpanNumber, Step};
use accredit_client::Server;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Most reports sent at once: with their steps about 1 MB, a quarter of what collectors take by default.
const BATCH_MAX: usize = 512;
/// How long reports gather before they are sent.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take for one batch.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the last reports may take when the server stops.
const LAST_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest answer of a collector that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How often a collector that does not take reports is mentioned.
const MENTION_EVERY: Duration = Duration::from_secs(60);
/// Where a collector takes traces (OTLP 1.x, "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";

/// The sending of reports.
pub(crate) struct Sending {
    task: JoinHandle<()>,
    over: CancellationToken,
}

impl Sending {
    /// Sends what is reported from now on to the collector at this place.
    ///
    /// # Errors
    /// What the environment says about OTLP (`OTEL_EXPORTER_OTLP_…`) cannot be done.
    pub(crate) fn start(to: Server, authority: &Arc<Authority>) -> Result<Option<Self>, ExporterBuildError> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Post(to.clone()))
            .with_endpoint(format!("{}{TRACES}", to.name()))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(SEND_TIME_MAX)
            .build()?;
        exporter.set_resource(&resource(authority));
        let Some(reports) = authority.traces().watch() else { return Ok(None) };
        let over = CancellationToken::new();
        let sender = Sender { exporter, at: to.name(), mentioned: None };
        let task = tokio::spawn(sender.run(reports, authority.clone(), over.clone()));
        Ok(Some(Self { task, over }))
    }

    /// Sends what is left, if that is quick.
    pub(crate) async fn finish(self) {
        self.over.cancel();
        if tokio::time::timeout(LAST_TIME_MAX, self.task).await.is_err() {
            tracing::warn!("the last reports of actions were not sent");
        }
    }
}

struct Sender {
    exporter: SpanExporter,
    at: String,
    mentioned: Option<Instant>,
}

impl Sender {
    async fn run(
        mut self,
        mut reports: Receiver<Report>,
        authority: Arc<Authority>,
        over: CancellationToken,
    ) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while self.gather(&mut reports, &mut batch, &over).await {
            let spans = batch.drain(..).flat_map(|report| spans(&report, || draw(&authority))).collect();
            let sent = tokio::time::timeout(SEND_TIME_MAX, self.exporter.export(spans)).await;
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.mention(&error),
                Err(_) => self.mention(&"it takes too long"),
            }
        }
    }

    /// Waits for reports; `false` when there will be no more.
    async fn gather(
        &self,
        reports: &mut Receiver<Report>,
        batch: &mut Vec<Report>,
        over: &CancellationToken,
    ) -> bool {
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = over.cancelled() => reports.close(),
        }
        tokio::select! {
            count = reports.recv_many(batch, BATCH_MAX) => count > 0,
            () = over.cancelled(), if !reports.is_closed() => {
                reports.close();
                reports.recv_many(batch, BATCH_MAX).await > 0
            }
        }
    }

    fn mention(&mut self, why: &dyn std::fmt::Display) {
        if self.mentioned.is_none_or(|at| at.elapsed() > MENTION_EVERY) {
            tracing::warn!(collector = %self.at, %why, "reports of actions were not taken and are dropped");
            self.mentioned = Some(Instant::now());
        }
    }
}

fn draw(authority: &Authority) -> SpanNumber {
    let mut number = SpanNumber::default();
    number.copy_from_slice(&authority.draw16()[..8]);
    number
}

fn resource(authority: &Authority) -> Resource {
    let instance: String = authority.draw16().iter().map(|byte| format!("{byte:02x}")).collect();
    Resource::builder_empty()
        .with_service_name("accredit")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
            KeyValue::new("accredit.issuer", authority.settings().issuer.clone()),
        ])
        .build()
}

/// The span of an action, and one below it for each of its steps.
fn spans(report: &Report, mut draw: impl FnMut() -> SpanNumber) -> Vec<SpanData> {
    let whole = SpanData {
        parent_span_id: report.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote: report.parent.is_some(),
        span_kind: SpanKind::Server,
        attributes: attributes(report),
        status: status(report),
        ..span(report, report.span, "action", report.began, report.took)
    };
    let steps = report.steps.iter().map(|Step { phase, began, took }| SpanData {
        parent_span_id: SpanId::from_bytes(report.span),
        ..span(report, draw(), phase.as_str(), *began, *took)
    });
    std::iter::once(whole).chain(steps).collect()
}

fn span(
    report: &Report,
    number: SpanNumber,
    name: &'static str,
    began: SystemTime,
    took: Duration,
) -> SpanData {
    let trace = TraceId::from_bytes(report.trace);
    let number = SpanId::from_bytes(number);
    SpanData {
        span_context: SpanContext::new(trace, number, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: began,
        end_time: began + took,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("accredit").build(),
    }
}

fn attributes(report: &Report) -> Vec<KeyValue> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut all = vec![
        KeyValue::new("accredit.decision", report.decision.to_string()),
        KeyValue::new("accredit.outcome", report.outcome),
        KeyValue::new("accredit.code", report.code),
        KeyValue::new("accredit.tenant", report.tenant.to_string()),
        KeyValue::new("accredit.agent", report.agent.to_string()),
        KeyValue::new("accredit.task", report.task.to_string()),
        KeyValue::new("accredit.operation", report.operation.to_string()),
        KeyValue::new("server.address", report.endpoint.host.to_string()),
        KeyValue::new("server.port", i64::from(report.endpoint.port)),
    ];
    all.extend(report.resource.as_ref().map(|r| KeyValue::new("accredit.resource", r.to_string())));
    all.extend(report.effect.map(|e| KeyValue::new("accredit.effect", e.as_str())));
    if let Some(end) = &report.end {
        all.extend([
            KeyValue::new("accredit.settlement", end.settlement.as_str()),
            KeyValue::new("accredit.request_bytes", number(end.request_bytes)),
            KeyValue::new("accredit.response_bytes", number(end.response_bytes)),
        ]);
        all.extend(end.status.map(|s| KeyValue::new("http.response.status_code", i64::from(s))));
        all.extend(end.cause.map(|c| KeyValue::new("error.type", c)));
    } else {
        all.push(KeyValue::new("error.type", report.code));
    }
    all
}

/// What was refused or broke is an error; what the upstream answered is its own affair.
fn status(report: &Report) -> Status {
    let cause = report.end.as_ref().map_or_else(|| report.blocked.then_some(report.code), |end| end.cause);
    cause.map_or(Status::Unset, Status::error)
}

/// Sends one batch over a connection of its own, as the command line reaches servers: in the clear on this machine only,
/// verified elsewhere, following nothing.
#[derive(Debug)]
struct Post(Server);

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut head, body) = request.into_parts();
        head.headers.insert(header::HOST, HeaderValue::try_from(self.0.authority())?);
        head.uri = TRACES.parse()?;
        let connection = TokioIo::new(self.0.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(connection).await?;
        // It ends when the sender is dropped, below.
        tokio::spawn(connection);
        let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}
