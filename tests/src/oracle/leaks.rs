//! I2 and I7: values where they must not be.

use accredit_core::facts::Facts;

use super::trail::Trail;
use super::{Effect, Evidence, Findings, Invariant, Place};

/// I2: no secret in any of the places, nor where the run itself has searched.
pub(super) fn secrets_stay(evidence: &Evidence, found: &mut Findings) {
    let searched = evidence.secrets.iter().flat_map(|secret| {
        evidence.places.iter().flat_map(move |place| secret.search(&place.bytes, &place.name))
    });
    for leak in evidence.leaks.iter().cloned().chain(searched) {
        let (canary, place, spelling) = (leak.canary, leak.place, leak.spelling);
        found.add(Invariant::I2, format!("`{canary}` lies in `{place}`, spelt {spelling}"));
    }
}

/// I7: no value of one tenant in a place of another, no decision from another's facts, no effect at another's upstream.
pub(super) fn tenants_stay_apart(evidence: &Evidence, trail: &Trail, found: &mut Findings) {
    for (owner, marker) in &evidence.markers {
        let foreign = |p: &&Place| p.tenant.as_ref().is_some_and(|t| t != owner);
        let places = evidence.places.iter().filter(foreign);
        for leak in places.flat_map(|place| marker.search(&place.bytes, &place.name)) {
            let (canary, place, spelling) = (leak.canary, leak.place, leak.spelling);
            found.add(Invariant::I7, format!("`{canary}` of `{owner}` lies in `{place}`, spelt {spelling}"));
        }
    }
    for decided in trail.decided() {
        let facts = decided.entry.text("facts").and_then(|digest| evidence.ledger.facts.get(digest));
        let Some(facts) = facts.and_then(|text| serde_json::from_str::<Facts>(text).ok()) else { continue };
        if facts.tenant.as_str() != decided.entry.tenant() {
            let (place, tenant) = (decided.place, decided.entry.tenant());
            found.add(
                Invariant::I7,
                format!("entry {place} of `{tenant}` rests on facts of `{}`", facts.tenant),
            );
        }
    }
    for Effect { traceparent, tenant, method, path, .. } in &evidence.effects {
        let behind = traceparent.as_deref().and_then(|t| trail.behind(t));
        let (Some(decided), Some(tenant)) = (behind, tenant) else { continue };
        if decided.entry.tenant() != tenant {
            let of = decided.entry.tenant();
            let what = format!("{method} {path} at the upstream of `{tenant}` was decided for `{of}`");
            found.add(Invariant::I7, what);
        }
    }
}
