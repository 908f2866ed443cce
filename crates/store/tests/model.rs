//! A small model of tasks, limits, revocations and uses beside the real store: random operations on both, and both
//! must agree on what was let out, what was refused and why, and what is on record afterwards, restarts included.

mod common;

use std::collections::BTreeMap;

use accredit_core::id::{DecisionId, TaskId};
use accredit_core::task::Task;
use accredit_core::text::Reason;
use accredit_identity::caller::Caller;
use accredit_store::{EntryFilter, RecordError, Snapshot, Store, StoreError};
use common::{Place, World, agent, credential, now, open, place_all, run};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// Starts a task with this limit on calls, below an earlier one or not.
    Start { calls_max: u8, below: Option<usize> },
    /// Uses a task: facts, decision, record.
    Use { task: usize, method: usize, bytes: u8 },
    /// Reads facts and keeps them, to decide on later.
    Look { task: usize },
    /// Decides and records on the facts kept before.
    UseLate { method: usize },
    /// Ends a task.
    End { task: usize },
    /// Takes the agent's right away, or gives it back.
    Agent { enabled: bool },
    /// Takes the credential's value away, or gives it back.
    Credential { held: bool },
    /// Closes the store and opens it again.
    Restart,
}

const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let task = 0..6_usize;
    let step = prop_oneof![
        3 => (0..4_u8, prop::option::of(task.clone())).prop_map(|(calls_max, below)| Step::Start { calls_max, below }),
        8 => (task.clone(), 0..3_usize, 0..3_u8).prop_map(|(task, method, bytes)| Step::Use { task, method, bytes }),
        2 => task.clone().prop_map(|task| Step::Look { task }),
        3 => (0..3_usize).prop_map(|method| Step::UseLate { method }),
        2 => task.prop_map(|task| Step::End { task }),
        1 => any::<bool>().prop_map(|enabled| Step::Agent { enabled }),
        1 => any::<bool>().prop_map(|held| Step::Credential { held }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

/// What the model knows of one task.
struct ModelTask {
    parent: Option<usize>,
    calls_max: u64,
    calls: u64,
    /// Calls of everything below it, which share what it hands down.
    handed_down: u64,
    ended: bool,
    /// How often it was ended, again included: each is a change of the task.
    ends: u64,
}

#[derive(Default)]
struct Model {
    tasks: Vec<ModelTask>,
    suspended: bool,
    no_value: bool,
    /// Grows with everything that could narrow a decision.
    changes: u64,
}

impl Model {
    /// Whether its own limit is reached, or one of those that it shares.
    fn is_used_up(&self, task: usize) -> bool {
        let own = &self.tasks[task];
        let above = std::iter::successors(own.parent, |at| self.tasks[*at].parent);
        own.calls >= own.calls_max
            || above.map(|at| &self.tasks[at]).any(|task| task.handed_down >= task.calls_max)
    }

    /// A use was let out.
    fn count(&mut self, task: usize) {
        self.tasks[task].calls += 1;
        let mut next = self.tasks[task].parent;
        while let Some(at) = next {
            self.tasks[at].handed_down += 1;
            next = self.tasks[at].parent;
        }
    }

    /// The code of the answer to a use of this task now, in the order in which the rules are looked at.
    fn answer(&self, task: usize, method: &str) -> &'static str {
        let mut next = Some(task);
        while let Some(at) = next {
            if self.tasks[at].ended {
                return "task_ended";
            }
            if self.suspended {
                return "agent_suspended";
            }
            next = self.tasks[at].parent;
        }
        if self.no_value {
            return "secret_missing";
        }
        if self.is_used_up(task) {
            return "limit_reached";
        }
        if method == "DELETE" { "approval_pending" } else { "allowed" }
    }
}

/// The real store and what the tests hold of it.
struct Real {
    world: World,
    tasks: Vec<(Task, Caller)>,
    looked: Option<Looked>,
    /// Decisions by id with the code that was recorded for each.
    recorded: BTreeMap<DecisionId, (&'static str, bool)>,
}

struct Looked {
    task: usize,
    snapshot: Snapshot,
    changes: u64,
    /// Tasks of its chain that had been used: the first use lets a task see something.
    used: usize,
}

impl Real {
    async fn change(
        &self,
        change: impl FnOnce(&mut accredit_store::Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) {
        self.world.store.change(change).await.expect("changed");
    }
}

async fn apply(model: &mut Model, real: &mut Real, step: Step, place: &Place) {
    let count = model.tasks.len();
    match step {
        Step::Start { calls_max, below } => {
            let below = below.filter(|b| *b < count).filter(|b| depth(model, *b) < 4);
            let grant = format!("github: * calls<={calls_max}");
            let parent: Option<TaskId> = below.map(|b| real.tasks[b].0.id.clone());
            let mut task = real.world.task(&[&grant], parent);
            task.boundary.delegable = task.boundary.usable.clone();
            real.world.put(task.clone()).await;
            let caller = real.world.caller(&task);
            real.tasks.push((task, caller));
            model.tasks.push(ModelTask {
                parent: below,
                calls_max: calls_max.into(),
                calls: 0,
                handed_down: 0,
                ended: false,
                ends: 0,
            });
        }
        Step::Use { task, method, bytes } if task < count => {
            use_now(model, real, task, METHODS[method], bytes.into()).await
        }
        Step::Look { task } if task < count => {
            let snapshot = real.world.snapshot(&real.tasks[task].0).await;
            let (changes, used) = (touched(model, task), used(model, task));
            real.looked = Some(Looked { task, snapshot, changes, used });
        }
        Step::UseLate { method } => use_late(model, real, METHODS[method]).await,
        Step::End { task } if task < count => {
            real.world.end(&real.tasks[task].0).await.expect("ended");
            model.tasks[task].ended = true;
            model.tasks[task].ends += 1;
        }
        Step::Agent { enabled } => {
            let bot = agent(&real.world.tenant);
            let bot =
                if enabled { bot } else { bot.suspend(Reason::parse("test").expect("a reason"), now()) };
            real.change(move |tx| tx.put_agent(&bot)).await;
            model.suspended = !enabled;
            model.changes += 1;
        }
        Step::Credential { held } => {
            let key = credential(&real.world.tenant);
            let key = if held { key } else { key.without_value() };
            real.change(move |tx| tx.put_credential(&key)).await;
            model.no_value = !held;
            model.changes += 1;
        }
        Step::Restart => {
            real.world.store.flushed().await;
            real.looked = None;
            let closed = std::mem::replace(&mut real.world.store, placeholder());
            drop(closed);
            real.world.store = place.open().await;
        }
        Step::Use { .. } | Step::Look { .. } | Step::End { .. } => {}
    }
}

/// A store of its own that stands in while the real one is closed.
fn placeholder() -> Store {
    let directory = tempfile::tempdir().expect("a directory");
    open(directory.path())
}

/// How many changes a decision about this task rests on: those of everybody, and those of its own chain.
fn touched(model: &Model, task: usize) -> u64 {
    let above = model.tasks[task].parent.map_or(model.changes, |parent| touched(model, parent));
    above + model.tasks[task].ends
}

/// How many tasks of this one's chain were used.
fn used(model: &Model, task: usize) -> usize {
    let above = model.tasks[task].parent.map_or(0, |parent| used(model, parent));
    above + usize::from(model.tasks[task].calls > 0)
}

fn depth(model: &Model, task: usize) -> usize {
    model.tasks[task].parent.map_or(1, |parent| depth(model, parent) + 1)
}

async fn use_now(model: &mut Model, real: &mut Real, task: usize, method: &str, bytes: u64) {
    let expected = model.answer(task, method);
    let (of, caller) = &real.tasks[task];
    let recorded = real.world.use_once(caller, of, method, "/").await;
    assert_eq!(recorded.decision().code(), expected, "{method} in task {task}");
    let id = recorded.decision().id().clone();
    let permit = recorded.permit();
    assert_eq!(permit.is_ok(), expected == "allowed");
    let settled = bytes > 0 && permit.is_ok();
    if let Ok(permit) = permit {
        model.count(task);
        if settled {
            real.world.store.settle(real.world.settled(permit.decision(), bytes)).await;
        }
    }
    real.recorded.insert(id, (expected, settled));
}

async fn use_late(model: &mut Model, real: &mut Real, method: &str) {
    let Some(Looked { task, snapshot, changes, used: used_then }) = real.looked.take() else { return };
    let decision = real.world.decide(&real.tasks[task].1, &snapshot, method, "/late");
    let (id, code) = (decision.id().clone(), decision.code());
    let answer = real.world.record(decision, &snapshot).await;
    let (now_changes, saw_more) = (touched(model, task), used(model, task) > used_then);
    match answer {
        Err(RecordError::Narrowed(_)) => assert!(now_changes > changes || saw_more, "nothing had changed"),
        Err(RecordError::LimitReached(_)) => {
            assert!(saw_more || model.is_used_up(task), "there was room");
        }
        Err(other) => panic!("{other:?}"),
        Ok(recorded) => {
            assert_eq!(now_changes, changes, "recorded although something had changed");
            let allowed = recorded.permit().is_ok();
            assert!(!allowed || !model.is_used_up(task), "recorded beyond the limit");
            if allowed {
                model.count(task);
            }
            real.recorded.insert(id, (code, false));
        }
    }
}

/// What is on record is what was answered: one entry per decision, and one outcome per action that went on.
async fn check(model: &Model, real: &Real) {
    let tenant = real.world.tenant.clone();
    for (at, (task, _)) in real.tasks.iter().enumerate() {
        let (tenant, id) = (tenant.clone(), task.id.clone());
        let usage = real.world.store.read(move |view| view.usage(&tenant, &id)).await.expect("read");
        assert_eq!(usage.calls(), model.tasks[at].calls, "calls of task {at}");
    }
    place_all(&real.world.store).await;
    let filter = |kind: &str| EntryFilter {
        tenant: Some(tenant.clone()),
        kinds: vec![kind.to_owned()],
        ..EntryFilter::default()
    };
    let (decided, settled) = (filter("action.decided"), filter("action.settled"));
    let read = real.world.store.read(move |view| {
        let contiguous = view.entries_from(0, 10_000)?.iter().zip(0..).all(|(entry, seq)| entry.seq == seq);
        Ok((view.entries(&decided)?, view.entries(&settled)?, contiguous))
    });
    let (decided, settled, contiguous) = read.await.expect("read");
    assert!(contiguous, "the ledger has no gaps");
    let text = |entry: &accredit_store::StoredEntry, field: &str| {
        entry.decode().expect("an entry").text(field).unwrap_or_default().to_owned()
    };
    let found: BTreeMap<String, String> =
        decided.iter().map(|e| (text(e, "decision"), text(e, "code"))).collect();
    let expected: BTreeMap<String, String> =
        real.recorded.iter().map(|(id, (code, _))| (id.to_string(), (*code).to_owned())).collect();
    assert_eq!((decided.len(), &found), (expected.len(), &expected));
    for (id, (code, was_settled)) in &real.recorded {
        let outcomes = settled.iter().filter(|e| text(e, "decision") == id.as_str()).count();
        assert!(outcomes <= usize::from(*code == "allowed"), "{id}");
        assert!(!was_settled || outcomes == 1, "{id} was settled");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    // case: REV-01, REV-06, DEL-01, AUD-12
    #[test]
    fn the_embedded_store_and_the_model_agree(steps in steps()) {
        run(agree(steps, Place::embedded()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    // case: REV-01, REV-06, DEL-01, AUD-12
    #[test]
    fn the_shared_store_and_the_model_agree(steps in steps()) {
        run(agree(steps, Place::shared()));
    }
}

async fn agree(steps: Vec<Step>, place: Place) {
    let world = World::on(place.open().await, "acme").await;
    let mut real = Real { world, tasks: Vec::new(), looked: None, recorded: BTreeMap::new() };
    let mut model = Model::default();
    for step in steps {
        apply(&mut model, &mut real, step, &place).await;
    }
    check(&model, &real).await;
}
