//! Which policies can apply: an index over their scopes, so that a decision costs what it needs.
//!
//! Cedar evaluates every policy of a set. Here a decision gets the policies whose principal, action
//! and resource constraints it can satisfy, permits and forbids alike; every other policy would
//! come out as not satisfied, without error, because a scope is evaluated before its conditions.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use crate::effect::Effect;
use crate::policy::schema;

/// Most assembled slices kept: as many as 10,000 agents with policies of their own need.
pub(crate) const SLICES_MAX: usize = 16_384;
/// Most copies of policies in all kept slices together, about 1 KB each.
pub(crate) const SLICED_POLICIES_MAX: usize = 65_536;

/// One scope: indexes into the interned ids, 0 where the scope says nothing.
type Scope = (u32, u32, u32);

/// The policies that can apply to some decisions, assembled.
pub(crate) struct Slice {
    pub(crate) set: cedar_policy::PolicySet,
    pub(crate) count: usize,
}

/// The index of one policy set.
pub(crate) struct Index {
    policies: Vec<Policy>,
    interned: BTreeMap<EntityUid, u32>,
    places: BTreeMap<Scope, usize>,
    buckets: Vec<Vec<usize>>,
    slices: RwLock<Slices>,
}

#[derive(Default)]
struct Slices {
    by_buckets: BTreeMap<Vec<usize>, Arc<Slice>>,
    copies: usize,
}

/// What a decision is about: who, which action, and the resource with everything that it is in.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) principal: &'a EntityUid,
    pub(crate) action: &'a EntityUid,
    pub(crate) resource: &'a EntityUid,
    /// What the resource is directly in, where that is not the tenant.
    pub(crate) within: Option<&'a EntityUid>,
    /// What principal and resource both are in.
    pub(crate) tenant: &'a EntityUid,
}

impl Index {
    pub(crate) fn new(policies: Vec<Policy>) -> Self {
        let mut index = Self {
            policies: Vec::new(),
            interned: BTreeMap::new(),
            places: BTreeMap::new(),
            buckets: Vec::new(),
            slices: RwLock::default(),
        };
        for (place, policy) in policies.iter().enumerate() {
            let principal = index.intern(principal_of(policy).as_ref());
            let resource = index.intern(resource_of(policy).as_ref());
            for action in actions_of(policy) {
                let scope = (index.intern(Some(&action)), principal, resource);
                index.bucket(scope).push(place);
            }
        }
        index.policies = policies;
        index
    }

    /// The slice for one decision.
    pub(crate) fn slice(&self, about: About<'_>) -> Result<Arc<Slice>, String> {
        let buckets = self.buckets_of(about);
        let kept =
            self.slices.read().unwrap_or_else(PoisonError::into_inner).by_buckets.get(&buckets).cloned();
        if let Some(slice) = kept {
            return Ok(slice);
        }
        let slice = Arc::new(self.assemble(&buckets)?);
        self.slices.write().unwrap_or_else(PoisonError::into_inner).keep(buckets, &slice);
        Ok(slice)
    }

    /// Every policy, in order: what a slice is compared with.
    #[cfg(test)]
    pub(crate) fn policies(&self) -> &[Policy] {
        &self.policies
    }

    fn intern(&mut self, uid: Option<&EntityUid>) -> u32 {
        let Some(uid) = uid else { return 0 };
        let next = u32::try_from(self.interned.len() + 1).expect("a set holds far fewer than 2^32 ids");
        *self.interned.entry(uid.clone()).or_insert(next)
    }

    fn bucket(&mut self, scope: Scope) -> &mut Vec<usize> {
        let next = self.buckets.len();
        let place = *self.places.entry(scope).or_insert(next);
        if place == next {
            self.buckets.push(Vec::new());
        }
        &mut self.buckets[place]
    }

    /// The buckets whose scopes the decision satisfies, sorted.
    fn buckets_of(&self, about: About<'_>) -> Vec<usize> {
        let known = |uid: &EntityUid| self.interned.get(uid).copied();
        let Some(action) = known(about.action) else { return Vec::new() };
        let tenant = known(about.tenant);
        let principals = [Some(0), known(about.principal), tenant];
        let resources = [Some(0), known(about.resource), about.within.and_then(known), tenant];
        let pairs = principals
            .into_iter()
            .flatten()
            .flat_map(|p| resources.into_iter().flatten().map(move |r| (p, r)));
        let mut found: Vec<_> =
            pairs.filter_map(|(p, r)| self.places.get(&(action, p, r)).copied()).collect();
        found.sort_unstable();
        found
    }

    fn assemble(&self, buckets: &[usize]) -> Result<Slice, String> {
        let mut set = cedar_policy::PolicySet::new();
        let mut count = 0;
        for &place in buckets.iter().flat_map(|&b| &self.buckets[b]) {
            set.add(self.policies[place].clone()).map_err(|e| e.to_string())?;
            count += 1;
        }
        Ok(Slice { set, count })
    }
}

impl Slices {
    /// Keeps a slice. At the bound all are dropped: what is still used is assembled again.
    fn keep(&mut self, buckets: Vec<usize>, slice: &Arc<Slice>) {
        if self.by_buckets.len() >= SLICES_MAX || self.copies + slice.count > SLICED_POLICIES_MAX {
            *self = Self::default();
        }
        if self.by_buckets.insert(buckets, Arc::clone(slice)).is_none() {
            self.copies += slice.count;
        }
    }
}

fn principal_of(policy: &Policy) -> Option<EntityUid> {
    match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
            Some(uid)
        }
    }
}

fn resource_of(policy: &Policy) -> Option<EntityUid> {
    match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            Some(uid)
        }
    }
}

/// The actions that the policy is about, the group of uses written out.
fn actions_of(policy: &Policy) -> Vec<EntityUid> {
    let uses = || Effect::ALL.map(|e| schema::effect(e).clone());
    let of = |uid: EntityUid| if uid == *schema::any_use() { uses().to_vec() } else { vec![uid] };
    let mut actions: Vec<_> = match policy.action_constraint() {
        ActionConstraint::Any => uses().into_iter().chain([schema::start().clone()]).collect(),
        ActionConstraint::Eq(uid) => vec![uid],
        ActionConstraint::In(uids) => uids.into_iter().flat_map(of).collect(),
    };
    actions.sort();
    actions.dedup();
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn kept_slices_are_bounded_in_number_and_in_size() {
        let slice = |count| Arc::new(Slice { set: cedar_policy::PolicySet::new(), count });
        let check = |count: usize, fit: usize| {
            let mut slices = Slices::default();
            for place in 0..fit {
                slices.keep(vec![place], &slice(count));
            }
            assert_eq!((slices.by_buckets.len(), slices.copies), (fit, fit * count));
            slices.keep(vec![0], &slice(count));
            slices.keep(vec![fit], &slice(count));
            assert!(slices.by_buckets.len() <= fit && slices.copies <= SLICED_POLICIES_MAX);
        };
        check(1, SLICES_MAX);
        check(10_000, SLICED_POLICIES_MAX / 10_000);
    }

    #[test]
    fn agents_without_policies_of_their_own_share_one_slice() {
        let set = fixture::set(
            "permit(principal, action, resource); permit(principal == Agent::\"bot\", action, resource);",
        );
        let slice = |name: &str| {
            let facts = crate::facts::Facts {
                chain: vec![fixture::link(1, name, &["github: *"])],
                ..fixture::facts(&[])
            };
            let prepared = fixture::prepared(&facts);
            let (operation, action) =
                (facts.target.as_ref().map(|t| &t.resource.name), fixture::action(&facts, "GET", "/"));
            let entities = prepared.entities();
            let (uid, within) =
                entities.operation(operation.expect("a target"), action.operation()).expect("an operation");
            let (principal, tenant) = (entities.principal(), entities.tenant());
            let about = About {
                principal,
                action: schema::effect(Effect::Read),
                resource: uid,
                within: Some(within),
                tenant,
            };
            set.index().slice(about).expect("a slice")
        };
        assert!(Arc::ptr_eq(&slice("a"), &slice("b")));
        assert_eq!((slice("a").count, slice("bot").count), (1, 2));
    }
}
