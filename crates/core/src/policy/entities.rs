//! Facts as Cedar entities, built once for all decisions that are made from them.

use std::collections::BTreeMap;

use accredit_identity::id::{OperationName, ResourceName, TemplateName, TenantName};
use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression};

use crate::agent::Agent;
use crate::effect::Effect;
use crate::facts::Facts;
use crate::policy::schema;
use crate::resource::Resource;

/// The entities that one set of facts consists of.
pub struct FactEntities {
    entities: Entities,
    tenant: EntityUid,
    principal: EntityUid,
    target: Option<TargetUids>,
}

struct TargetUids {
    name: ResourceName,
    resource: EntityUid,
    operations: BTreeMap<OperationName, EntityUid>,
}

impl FactEntities {
    /// Builds the entities and checks them against the schema.
    ///
    /// # Errors
    /// What does not fit the schema.
    pub fn build(facts: &Facts) -> Result<Self, String> {
        let own = facts.own().ok_or("the facts name no task")?;
        let tenant = schema::tenant(&facts.tenant);
        let mut all = vec![of_tenant(&facts.tenant)?, of_agent(&own.agent, &tenant)?];
        let target = match &facts.target {
            None => None,
            Some(target) => Some(of_target(&target.resource, &tenant, &mut all)?),
        };
        let entities = Entities::from_entities(all, Some(schema::schema())).map_err(|e| e.to_string())?;
        Ok(Self { entities, principal: schema::agent(&own.agent.name), tenant, target })
    }

    pub(crate) const fn entities(&self) -> &Entities {
        &self.entities
    }

    pub(crate) const fn principal(&self) -> &EntityUid {
        &self.principal
    }

    pub(crate) const fn tenant(&self) -> &EntityUid {
        &self.tenant
    }

    /// The operation of the resource that the facts are about, and that resource.
    pub(crate) fn operation(
        &self,
        resource: &ResourceName,
        operation: &OperationName,
    ) -> Option<(&EntityUid, &EntityUid)> {
        let target = self.target.as_ref().filter(|t| t.name == *resource)?;
        Some((target.operations.get(operation)?, &target.resource))
    }
}

/// The entities that the start of a task is decided from.
pub(crate) fn for_start(agent: &Agent, template: Option<&TemplateName>) -> Result<Entities, String> {
    let tenant = schema::tenant(&agent.tenant);
    let name = template.map_or(schema::ADHOC, TemplateName::as_str);
    let template = entity(schema::template(template), [("name", text(name))], Some(&tenant))?;
    let all = [of_tenant(&agent.tenant)?, of_agent(agent, &tenant)?, template];
    Entities::from_entities(all, Some(schema::schema())).map_err(|e| e.to_string())
}

fn of_tenant(name: &TenantName) -> Result<Entity, String> {
    entity(schema::tenant(name), [("name", text(name.as_str()))], None)
}

fn of_agent(agent: &Agent, tenant: &EntityUid) -> Result<Entity, String> {
    let attributes = [
        ("name", text(agent.name.as_str())),
        ("kind", text(agent.kind.as_str())),
        ("environment", text(agent.environment.as_str())),
        ("owner", text(agent.owner.as_str())),
    ];
    entity(schema::agent(&agent.name), attributes, Some(tenant))
}

fn of_target(resource: &Resource, tenant: &EntityUid, all: &mut Vec<Entity>) -> Result<TargetUids, String> {
    let uid = schema::resource(&resource.name);
    let named = std::iter::once(("name", text(resource.name.as_str())));
    all.push(entity(uid.clone(), named.chain(of_resource(resource)), Some(tenant))?);
    let mut operations = BTreeMap::new();
    for (name, effect) in resource.operations() {
        let operation = schema::operation(&resource.name, &name);
        all.push(of_operation(operation.clone(), &name, effect, resource, &uid)?);
        operations.insert(name, operation);
    }
    Ok(TargetUids { name: resource.name.clone(), resource: uid, operations })
}

fn of_operation(
    uid: EntityUid,
    name: &OperationName,
    effect: Effect,
    resource: &Resource,
    parent: &EntityUid,
) -> Result<Entity, String> {
    let own = [("name", text(name.as_str())), ("effect", text(effect.as_str()))];
    entity(uid, own.into_iter().chain(of_resource(resource)), Some(parent))
}

fn of_resource(resource: &Resource) -> [(&'static str, RestrictedExpression); 4] {
    [
        ("environment", text(resource.environment.as_str())),
        ("sensitivity", text(resource.sensitivity.as_str())),
        ("owner", text(resource.owner.as_str())),
        ("mode", text(resource.mode.as_str())),
    ]
}

fn entity(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (&'static str, RestrictedExpression)>,
    parent: Option<&EntityUid>,
) -> Result<Entity, String> {
    let attributes = attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Entity::new(uid, attributes, parent.cloned().into_iter().collect()).map_err(|e| e.to_string())
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}
