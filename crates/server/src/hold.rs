//! `GET /v1/tasks/{id}/hold`: a line now and then for as long as the runner listens. When its connection goes away,
//! the hold is dropped, and the authority ends the task.

use std::time::{Duration, Instant};

use accredit_api::audit::JSON_LINES;
use accredit_api::task::{HoldLine, TaskStatus};
use accredit_authority::tasks::Hold;
use accredit_core::id::TaskId;
use accredit_core::task::TaskState;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use crate::access::Holder;
use crate::app::App;
use crate::extract::in_path;
use crate::problem::Failure;
use crate::tasks::status;

/// A line is written at least this often, so that a connection that is gone is noticed.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How soon the runner learns that its task has ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);

struct Holding {
    app: App,
    task: TaskId,
    _hold: Hold,
    last_line: Option<Instant>,
    over: bool,
}

/// Holds a task for its runner
///
/// A JSON line (`HoldLine`) at once, every 10 s, and when the task ends. When the connection goes away, the task ends
/// as failed.
#[utoipa::path(get, path = "/v1/tasks/{id}/hold", tag = "tasks", params(("id" = String, Path, description = "The task")), responses((status = 200, description = "JSON lines of `HoldLine`", content_type = "application/jsonl", body = HoldLine)))]
pub(crate) async fn hold(
    State(app): State<App>,
    Holder(caller): Holder,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let task: TaskId = in_path("task", &id)?;
    if *caller.task() != task {
        return Err(Failure::not_found("task"));
    }
    let hold = app.authority().hold_task(&caller).await?;
    let holding = Holding { app, task, _hold: hold, last_line: None, over: false };
    let lines = futures_util::stream::unfold(holding, |mut holding| async move {
        let line = holding.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), holding))
    });
    let kind = HeaderValue::from_static(JSON_LINES);
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(lines)).into_response())
}

impl Holding {
    /// The next line; none after the task has ended or when it cannot be looked at.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        loop {
            let task = self.app.authority().task(self.task.clone()).await.ok()?;
            let now = self.app.authority().now();
            let status = status(&task, now);
            self.over = status != TaskStatus::Active;
            if self.over || self.last_line.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
                self.last_line = Some(Instant::now());
                let expires_at = match &task.state {
                    TaskState::Active { expires_at, .. } => Some(expires_at.to_string()),
                    TaskState::Proposed | TaskState::Ended { .. } => None,
                };
                let line = HoldLine { status, at: now.to_string(), expires_at };
                let mut text = serde_json::to_vec(&line).ok()?;
                text.push(b'\n');
                return Some(text.into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
