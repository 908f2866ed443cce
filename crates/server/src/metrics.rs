//! Figures in the text format of Prometheus. Numbers and endpoint patterns only: no tenant, agent, host or task.

use std::sync::atomic::{AtomicU64, Ordering};

use accredit_authority::figures::{COMMIT_CLASSES_US, Figures};
use accredit_authority::traffic::{BUCKETS_US, Traffic};
use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::http::{HeaderValue, Request, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::app::App;
use crate::problem::Failure;

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: &'static str,
    /// The pattern of the path, never the path.
    route: String,
    status: u16,
}

/// What this server counts by itself.
#[derive(Default)]
pub(crate) struct Metrics {
    calls: Family<Call, Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn text(&self, figures: &Figures, data_plane: &Traffic) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("accredit");
        registry.register("api_calls", "Calls of the control plane", self.calls.clone());
        for (name, help, value) in gauges(figures).into_iter().chain(traffic(data_plane)) {
            let gauge = Gauge::<u64, AtomicU64>::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        let end = text.strip_suffix("# EOF\n").unwrap_or(&text).to_owned();
        Ok(end + &histograms(figures, data_plane) + "# EOF\n")
    }
}

/// Figures of the data plane.
fn traffic(t: &Traffic) -> [(&'static str, &'static str, u64); 9] {
    let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
    [
        ("gateway_requests", "Requests with a head that was understood", of(&t.requests)),
        ("gateway_allowed", "Requests that were let out", of(&t.allowed)),
        ("gateway_refused", "Requests that were refused by a decision", of(&t.refused)),
        ("gateway_faults", "Requests that could not be decided or recorded", of(&t.faults)),
        ("gateway_malformed", "Bytes that were not a request", of(&t.malformed)),
        ("gateway_broken", "Exchanges with an upstream that broke", of(&t.broken)),
        ("gateway_cut", "Actions cut", of(&t.cut)),
        ("gateway_scrubbed", "Occurrences of a secret in responses that were overwritten", of(&t.scrubbed)),
        ("gateway_untold", "Reports of actions that were dropped because too many waited", of(&t.untold)),
    ]
}

fn gauges(f: &Figures) -> Vec<(&'static str, &'static str, u64)> {
    vec![
        ("store_commits", "Transactions made durable", f.commits),
        ("store_commands", "Commands made durable", f.commands),
        ("store_refused", "Commands refused by their own checks", f.refused),
        ("store_queued", "Commands that wait for the writer", f.queued),
        ("store_stops", "How often the store stopped taking work", f.stops),
        ("store_working", "Whether the store takes work", u64::from(f.working)),
        ("ledger_appended", "Entries appended", f.appended),
        ("ledger_integrated", "Entries in the tree", f.integrated),
        ("ledger_checkpointed", "Entries under the newest checkpoint", f.checkpointed),
        ("ledger_witnesses", "Witnesses that are asked", f.witnesses.configured),
        (
            "ledger_witnessed",
            "Entries under a checkpoint that every witness has cosigned",
            f.witnesses.witnessed,
        ),
        ("ledger_witnesses_failing", "Witnesses that do not answer as they should", f.witnesses.failing),
        ("ledger_witnesses_refusing", "Witnesses that have seen another history", f.witnesses.refusing),
        ("ledger_published", "Entries under the checkpoint that was published last", f.publication.published),
        ("ledger_publish_failing", "Whether publishing fails", u64::from(f.publication.failing)),
        ("facts_remembered", "Facts found in memory", f.facts_remembered),
        ("facts_read", "Facts read from the database", f.facts_read),
        ("vault_sealed", "Whether the vault is sealed", u64::from(f.sealed)),
    ]
}

/// Counts by class as a histogram in seconds (OpenMetrics 1.0 §5.3). The last class has no upper bound.
fn histogram(name: &str, help: &str, bounds_us: &[u64], counts: &[u64], sum_us: u64) -> String {
    let mut text = format!("# HELP {name} {help}.\n# TYPE {name} histogram\n");
    let mut sum = 0;
    for (i, count) in counts.iter().enumerate() {
        sum += count;
        let bound =
            bounds_us.get(i).map_or_else(|| "+Inf".to_owned(), |us| format!("{:?}", *us as f64 / 1e6));
        text.push_str(&format!("{name}_bucket{{le=\"{bound}\"}} {sum}\n"));
    }
    text + &format!("{name}_sum {:?}\n{name}_count {sum}\n", sum_us as f64 / 1e6)
}

fn histograms(figures: &Figures, data_plane: &Traffic) -> String {
    let (decide, decide_us) = data_plane.decide.read();
    let (upstream, upstream_us) = data_plane.upstream.read();
    let commit = (&figures.commit_us, figures.commit_us_sum);
    [
        histogram(
            "accredit_store_commit_seconds",
            "Time of a commit with its fsync",
            &COMMIT_CLASSES_US,
            commit.0,
            commit.1,
        ),
        histogram(
            "accredit_gateway_decide_seconds",
            "From a request's head to its recorded decision",
            &BUCKETS_US,
            &decide,
            decide_us,
        ),
        histogram(
            "accredit_gateway_upstream_seconds",
            "From the record to the upstream's answer",
            &BUCKETS_US,
            &upstream,
            upstream_us,
        ),
    ]
    .concat()
}

/// Counts a call by its pattern and status.
pub(crate) async fn count(State(app): State<App>, request: Request<Body>, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", |p| p.as_str()).to_owned();
    let method = method(request.method().as_str());
    let response = next.run(request).await;
    let call = Call { method, route, status: response.status().as_u16() };
    app.metrics().calls.get_or_create(&call).inc();
    response
}

/// A method that is not one of these would be a label of the caller's making.
fn method(text: &str) -> &'static str {
    ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]
        .into_iter()
        .find(|m| *m == text)
        .unwrap_or("other")
}

/// Figures for Prometheus
///
/// Numbers only; no names of anything.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, description = "Figures", content_type = "application/openmetrics-text", body = String)))]
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Failure> {
    let text = app.metrics().text(&app.authority().figures(), app.authority().traffic());
    let text = text.map_err(|_| {
        Failure::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            "metrics_failed",
            "the figures cannot be written",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
