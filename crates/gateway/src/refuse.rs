//! Answers of our own: refusals that help (RFC 9457), in the shape that agents and their SDKs read.
//!
//! A final or pending refusal is 403, whatever the reason: 401 makes agents ask for a new key, and
//! 408, 409, 429 and 5xx are repeated by SDKs on their own. Only what may well succeed when
//! repeated is 503.

use accredit_authority::fault::{Fault, FaultKind};
use accredit_core::id::{DecisionId, RequestId};
use accredit_core::refusal::Refusal;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

/// Where the page about a code is, followed by the code with `-` for `_`.
const TYPE_BASE: &str = "https://accredit.dev/e/";

/// One answer, ready to be written.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    refused_by: &'static str,
    retryable: bool,
    detail: &'a str,
    next_step: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<String>,
}

/// The answer to an action that was decided against.
pub(crate) fn refused(refusal: &Refusal, decision: &DecisionId, request: Option<&RequestId>) -> Answer {
    let problem = Problem {
        r#type: problem_type(refusal.code.as_str()),
        title: refusal.code.title(),
        status: StatusCode::FORBIDDEN.as_u16(),
        code: refusal.code.as_str(),
        refused_by: "accredit",
        retryable: false,
        detail: &refusal.detail,
        next_step: &refusal.next_step,
        decision: Some(decision.to_string()),
        request: request.map(ToString::to_string),
        wait: request.map(|r| format!("GET /v1/requests/{r}?wait=30s")),
    };
    let mut answer = Answer::new(StatusCode::FORBIDDEN, &problem);
    answer.name_decision(decision, refusal.code.as_str());
    answer
}

/// The answer when nothing could be decided, or a recorded action could not go on.
pub(crate) fn fault(fault: &Fault, decision: Option<&DecisionId>) -> Answer {
    let (status, title, retryable) = match fault.kind {
        FaultKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Accredit cannot do this now", true),
        FaultKind::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "Too much at once", true),
        FaultKind::Unauthenticated => (StatusCode::UNAUTHORIZED, "Nobody proved who is asking", false),
        FaultKind::Invalid | FaultKind::Denied | FaultKind::NotFound | FaultKind::Conflict => {
            (StatusCode::FORBIDDEN, "Refused", false)
        }
    };
    let mut answer = own(status, title, fault.code, &fault.detail, &fault.next_step, retryable, decision);
    if retryable {
        answer.headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// The answer to bytes that are not one request with one reading.
pub(crate) fn malformed(status: StatusCode, detail: &str) -> Answer {
    let next = "Send a request that conforms to RFC 9112; a usual client does.";
    own(status, "Not one request with one reading", "malformed_request", detail, next, false, None)
}

/// The answer when the upstream could not be reached or did not answer properly.
pub(crate) fn upstream(status: StatusCode, code: &str, detail: &str, decision: &DecisionId) -> Answer {
    let next =
        "The action is recorded. Ask whoever answers for this resource; nothing is wrong with the task.";
    own(status, "The upstream did not answer properly", code, detail, next, false, Some(decision))
}

/// An answer of our own that is not about a decision.
pub(crate) fn plain(status: StatusCode, code: &str, detail: &str, next_step: &str) -> Answer {
    own(status, "Refused", code, detail, next_step, false, None)
}

fn own(
    status: StatusCode,
    title: &str,
    code: &str,
    detail: &str,
    next_step: &str,
    retryable: bool,
    decision: Option<&DecisionId>,
) -> Answer {
    let problem = Problem {
        r#type: problem_type(code),
        title,
        status: status.as_u16(),
        code,
        refused_by: "accredit",
        retryable,
        detail,
        next_step,
        decision: decision.map(ToString::to_string),
        request: None,
        wait: None,
    };
    let mut answer = Answer::new(status, &problem);
    if let Some(decision) = decision {
        answer.name_decision(decision, code);
    }
    answer
}

fn problem_type(code: &str) -> String {
    format!("{TYPE_BASE}{}", code.replace('_', "-"))
}

impl Answer {
    fn new(status: StatusCode, problem: &Problem<'_>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(http::header::SERVER, HeaderValue::from_static("accredit"));
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !problem.retryable {
            headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("DPoP algs=\"ES256 EdDSA\"");
            headers.insert(http::header::WWW_AUTHENTICATE, scheme);
        }
        let mut body = serde_json::to_vec(problem).unwrap_or_default();
        body.push(b'\n');
        Self { status, headers, body }
    }

    /// Names the decision in a field, for clients that do not read bodies.
    fn name_decision(&mut self, decision: &DecisionId, code: &str) {
        if let Ok(value) = HeaderValue::try_from(format!("{decision}; code={code}")) {
            self.headers.insert(DECISION, value);
        }
    }
}

/// Names the decision in every answer about one.
pub(crate) const DECISION: HeaderName = HeaderName::from_static("accredit-decision");

#[cfg(test)]
mod tests {
    use super::*;
    use accredit_core::refusal::Code;

    #[test]
    fn a_refusal_is_final_names_its_decision_and_says_what_to_do() {
        let decision = DecisionId::from_random([1; 16]);
        let refusal = Refusal::new(Code::OutsideBoundary, "no grant covers it", "ask for one");
        let answer = refused(&refusal, &decision, None);
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.headers["x-should-retry"], "false");
        assert_eq!(answer.headers[DECISION], format!("{decision}; code=outside_boundary").as_str());
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(body["code"], "outside_boundary");
        assert_eq!(body["retryable"], false);
        assert_eq!(body["next_step"], "ask for one");
    }

    #[test]
    fn only_what_may_succeed_later_asks_to_be_repeated() {
        let answer = fault(&Fault::sealed(), None);
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers.contains_key("retry-after"));
        assert!(!answer.headers.contains_key("x-should-retry"));
    }
}
