//! What a run asks for, from the command line and the repository's `.accredit.toml`: which agent, for what, at whose
//! request, within which boundary. It only asks; the authority decides.

use accredit_api::task::{Runner, StartTask};
use accredit_identity::spiffe::SpiffeId;

use super::RunArgs;
use crate::config::project::{Origin, ProjectConfig};
use crate::failure::Failure;

/// What is asked of the authority, except for the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    /// Name of the agent.
    pub(crate) agent: String,
    /// Its SPIFFE ID, where that was given.
    pub(crate) spiffe_id: Option<SpiffeId>,
    /// What the task is for.
    pub(crate) purpose: String,
    /// Where the work is tracked.
    pub(crate) workflow: Option<String>,
    /// The person who asked.
    pub(crate) requested_by: Option<String>,
    /// The template to start from.
    pub(crate) template: Option<String>,
    /// Grants, when no template is named.
    pub(crate) grants: Vec<String>,
    /// Grants that it may hand down.
    pub(crate) delegable: Vec<String>,
    /// How long it shall live, in seconds.
    pub(crate) ttl_s: Option<u64>,
}

impl Intent {
    /// What flags and project say together; flags win. `ask` asks a person.
    ///
    /// # Errors
    /// When nobody says which agent, or what it may do.
    pub(crate) fn new(
        args: &RunArgs,
        project: &ProjectConfig,
        folder: &str,
        ask: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let agent = args.agent.clone().or_else(|| project.agent.clone()).ok_or_else(|| {
            Failure::usage("nothing was started", "nobody says which agent this is")
                .todo("accredit run --agent NAME …, or write `agent = \"NAME\"` into .accredit.toml")
        })?;
        let (agent, spiffe_id) = match agent.starts_with("spiffe://") {
            false => (agent, None),
            true => {
                let id = SpiffeId::parse(&agent).map_err(|e| Failure::usage("nothing was started", e))?;
                (id.name().to_string(), Some(id))
            }
        };
        let from_project =
            |origin: &Option<Origin>, what: &str| origin.as_ref().and_then(|o| o.value(|| ask(what)));
        let found = || from_project(&project.task, "what is the task for?");
        let branch = project.task == Some(Origin::GitBranch);
        let tracked = args.task.is_none().then(found).flatten();
        let purpose = args.task.clone().or_else(|| {
            let text = tracked.clone()?;
            Some(if branch { format!("work on branch {text}") } else { text })
        });
        let template =
            args.template.clone().or_else(|| project.template.clone().filter(|_| args.allow.is_empty()));
        if template.is_none() && args.allow.is_empty() {
            let failure = Failure::usage("nothing was started", "nobody says what the task may do");
            return Err(
                failure.todo("name a template (accredit template ls) or grants: --allow \"github: GET *\"")
            );
        }
        Ok(Self {
            agent,
            spiffe_id,
            purpose: purpose.unwrap_or_else(|| format!("interactive session in {folder}")),
            workflow: args.workflow.clone().or_else(|| tracked.filter(|_| branch)),
            requested_by: args
                .requested_by
                .clone()
                .or_else(|| from_project(&project.requested_by, "at whose request?")),
            template,
            grants: args.allow.clone(),
            delegable: args.delegate.clone(),
            ttl_s: args.ttl,
        })
    }

    /// The question to the authority. `assertion` proves the agent; without it the socket's peer does.
    pub(crate) fn request(&self, assertion: Option<accredit_api::Sensitive>) -> StartTask {
        let proven = assertion.is_some();
        StartTask {
            agent: (!proven).then(|| self.agent.clone()),
            client_assertion: assertion,
            client_assertion_type: proven.then(|| accredit_api::task::JWT_BEARER.to_owned()),
            purpose: self.purpose.clone(),
            workflow: self.workflow.clone(),
            requested_by: self.requested_by.clone(),
            template: self.template.clone(),
            boundary: (!self.grants.is_empty()).then(|| self.grants.clone()),
            delegable: (!self.delegable.is_empty()).then(|| self.delegable.clone()),
            ttl_s: self.ttl_s,
            held: true,
            runner: Some(Runner { pid: std::process::id() }),
            parent: None,
            parent_token: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(args: RunArgs, project: &str) -> Result<Intent, Failure> {
        let project = ProjectConfig::parse(".accredit.toml", project).expect("a project");
        Intent::new(&args, &project, "shop", |_| Some("asked".to_owned()))
    }

    #[test]
    fn flags_stand_above_the_project() {
        let project = "agent = \"shop-coder\"\ntemplate = \"coding\"\ntask = { from = \"prompt\" }";
        let plain = intent(RunArgs::default(), project).expect("an intent");
        assert_eq!((plain.agent.as_str(), plain.purpose.as_str()), ("shop-coder", "asked"));
        assert_eq!(plain.template.as_deref(), Some("coding"));
        let args = RunArgs {
            agent: Some("other".to_owned()),
            task: Some("fix checkout".to_owned()),
            allow: vec!["github: read".to_owned()],
            ..RunArgs::default()
        };
        let flagged = intent(args, project).expect("an intent");
        assert_eq!((flagged.agent.as_str(), flagged.purpose.as_str()), ("other", "fix checkout"));
        assert_eq!((flagged.template, flagged.grants), (None, vec!["github: read".to_owned()]));
    }

    #[test]
    fn without_agent_or_boundary_nothing_starts() {
        let no_agent = intent(RunArgs::default(), "").expect_err("no agent");
        assert!(no_agent.lines()[1].contains("which agent"));
        let no_boundary = intent(RunArgs::default(), "agent = \"a\"").expect_err("no boundary");
        assert!(no_boundary.lines()[1].contains("what the task may do"));
    }

    #[test]
    fn a_proven_agent_is_named_by_its_assertion_alone() {
        let args = RunArgs {
            agent: Some("spiffe://acme.example/default/dev/agent/shop-coder".to_owned()),
            template: Some("coding".to_owned()),
            ..RunArgs::default()
        };
        let intent = intent(args, "").expect("an intent");
        assert_eq!(
            (intent.agent.as_str(), intent.purpose.as_str()),
            ("shop-coder", "interactive session in shop")
        );
        let unproven = intent.request(None);
        assert_eq!((unproven.agent.as_deref(), unproven.held), (Some("shop-coder"), true));
        let proven = intent.request(Some(accredit_api::Sensitive::new("a.b.c".to_owned())));
        assert_eq!(proven.agent, None);
    }
}
