//! Reverse lookup: which agents could do this. Asks the decision function once per agent, so that
//! the answer cannot differ from what would be decided.

use accredit_identity::id::AgentName;

use crate::agent::Agent;
use crate::facts::PrepareError;
use crate::policy::PolicySet;
use crate::policy::situation::{Answer, RequestSketch, Situation, TaskSketch};
use crate::resource::Resource;
use crate::time::Timestamp;

/// What is asked about every agent.
#[derive(Debug, Clone, Copy)]
pub struct WhoCan<'a> {
    /// The resource.
    pub resource: &'a Resource,
    /// The request that each agent would make.
    pub request: &'a RequestSketch,
    /// The task that each would make it in; without a boundary, only policy decides.
    pub task: &'a TaskSketch,
    /// The instant to ask for.
    pub now: Timestamp,
}

/// The answer for each agent, in the order given.
///
/// # Errors
/// [`PrepareError`] when an agent is not of the resource's tenant.
pub fn who_can<'a>(
    policies: &PolicySet,
    agents: impl IntoIterator<Item = &'a Agent>,
    question: &WhoCan<'_>,
) -> Result<Vec<(AgentName, Answer)>, PrepareError> {
    let WhoCan { resource, request, task, now } = *question;
    let of = |agent: &Agent| {
        Ok((agent.name.clone(), Situation { agent, resource, task, request, now }.answer(policies)?))
    };
    agents.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_answer_names_every_agent_and_what_would_be_decided() {
        let policies = fixture::set("permit(principal == Agent::\"bot\", action in Action::\"use\", resource in Resource::\"github\");
            permit(principal == Agent::\"cron\", action == Action::\"delete\", resource) when { context.approval.granted && context.task.calls < 5 };");
        let agents = ["bot", "cron", "idle"].map(fixture::agent);
        let check = |method: &str, calls: u64, expected: [&str; 3]| {
            let request = RequestSketch {
                method: method.to_owned(),
                path: "/".to_owned(),
                endpoint: None,
                content_type: None,
                body_bytes: None,
            };
            let task = TaskSketch { calls, ..TaskSketch::default() };
            let question = WhoCan {
                resource: &fixture::resource("github"),
                request: &request,
                task: &task,
                now: fixture::now(),
            };
            let found = who_can(&policies, &agents, &question).expect("agents of one tenant");
            assert_eq!(found.iter().map(|(_, a)| a.code()).collect::<Vec<_>>(), expected, "{method}");
        };
        check("GET", 0, ["allowed", "denied_by_policy", "denied_by_policy"]);
        check("DELETE", 0, ["allowed", "approval_pending", "denied_by_policy"]);
        check("DELETE", 5, ["allowed", "denied_by_policy", "denied_by_policy"]);
        check("TRACE", 0, ["method_not_carried"; 3]);
    }
}
