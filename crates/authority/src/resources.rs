//! Resources: register, list, change, retire. A change of where a value may go drops the value.

use accredit_core::credential::Credential;
use accredit_core::event::Event;
use accredit_core::host::Endpoint;
use accredit_core::id::{CredentialName, Environment, ResourceName, TenantName};
use accredit_core::resource::{Dialect, ENDPOINTS_MAX, Mode, Resource, ResourceStatus, Sensitivity};
use accredit_core::rights::Operation;
use accredit_core::text::{Owner, Reason};
use accredit_core::time::Timestamp;
use accredit_store::{Tx, View};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};

use crate::Authority;
use crate::fault::Fault;
use crate::operators::Operator;
use crate::owners::must_answer;

/// Longest PEM of authorities, in bytes: a few dozen certificates.
pub const CA_PEM_BYTES_MAX: usize = 64 * 1024;
const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";

/// What is registered of a new resource.
#[derive(Debug, Clone)]
pub struct NewResource {
    /// A new name.
    pub name: ResourceName,
    /// Who answers for it.
    pub owner: Owner,
    /// Where it runs.
    pub environment: Environment,
    /// How sensitive it is.
    pub sensitivity: Sensitivity,
    /// Whether decisions are enforced; the installation's default when absent.
    pub mode: Option<Mode>,
    /// Where exactly it answers.
    pub endpoints: Vec<Endpoint>,
    /// Whether it may resolve to a private or loopback address.
    pub private_network: bool,
    /// PEM of the authorities that its certificate must chain to.
    pub ca_pem: Option<String>,
    /// What it speaks.
    pub dialect: Dialect,
    /// Whether its `Set-Cookie` fields reach the agent.
    pub pass_cookies: bool,
}

/// What is changed of a resource. `None`: stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ResourceChange {
    /// Who answers for it.
    pub owner: Option<Owner>,
    /// Where it runs.
    pub environment: Option<Environment>,
    /// How sensitive it is.
    pub sensitivity: Option<Sensitivity>,
    /// Whether decisions are enforced.
    pub mode: Option<Mode>,
    /// Where exactly it answers.
    pub endpoints: Option<Vec<Endpoint>>,
    /// Whether it may resolve to a private or loopback address.
    pub private_network: Option<bool>,
    /// The authorities that its certificate must chain to; `Some(None)`: the system's.
    pub ca_pem: Option<Option<String>>,
    /// What it speaks.
    pub dialect: Option<Dialect>,
    /// Whether its `Set-Cookie` fields reach the agent.
    pub pass_cookies: Option<bool>,
    /// Why.
    pub reason: Option<Reason>,
}

impl ResourceChange {
    fn apply(&self, resource: &Resource) -> Resource {
        let c = self.clone();
        let old = resource.clone();
        Resource {
            owner: c.owner.unwrap_or(old.owner),
            environment: c.environment.unwrap_or(old.environment),
            sensitivity: c.sensitivity.unwrap_or(old.sensitivity),
            mode: c.mode.unwrap_or(old.mode),
            endpoints: c.endpoints.unwrap_or(old.endpoints),
            private_network: c.private_network.unwrap_or(old.private_network),
            ca_pem: c.ca_pem.unwrap_or(old.ca_pem),
            dialect: c.dialect.unwrap_or(old.dialect),
            pass_cookies: c.pass_cookies.unwrap_or(old.pass_cookies),
            ..old
        }
    }
}

/// A changed resource, and what the change cost.
#[derive(Debug, Clone)]
pub struct ResourceChanged {
    /// The resource as it is now.
    pub resource: Resource,
    /// The credential whose value was dropped, because it could have gone elsewhere.
    pub dropped: Option<CredentialName>,
}

impl Authority {
    /// Every resource, sorted by name, retired ones among them.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn resources(&self) -> Result<Vec<Resource>, Fault> {
        let tenant = self.tenant().clone();
        Ok(self.store.read(move |view| view.resources(&tenant)).await?)
    }

    /// One resource.
    ///
    /// # Errors
    /// [`Fault`] when there is no such resource.
    pub async fn resource(&self, name: ResourceName) -> Result<Resource, Fault> {
        let (tenant, asked) = (self.tenant().clone(), name.clone());
        let found = self.store.read(move |view| view.resource(&tenant, &asked)).await?;
        found.ok_or_else(|| Fault::not_found("resource", &name))
    }

    /// Registers a resource.
    ///
    /// # Errors
    /// [`Fault`] when the name was given before, an endpoint is taken, or nobody answers for it.
    pub async fn add_resource(&self, by: &Operator, new: NewResource) -> Result<Resource, Fault> {
        let name = new.name.clone();
        let doing = self.add_resource_unchecked(by.name().clone(), new);
        self.as_operator(by, Operation::ResourceAdd, &name, doing).await
    }

    async fn add_resource_unchecked(&self, by: Owner, new: NewResource) -> Result<Resource, Fault> {
        let tenant = self.tenant().clone();
        let resource = Resource {
            tenant: tenant.clone(),
            name: new.name,
            owner: new.owner,
            environment: new.environment,
            sensitivity: new.sensitivity,
            mode: new.mode.unwrap_or(self.settings.default_mode),
            endpoints: new.endpoints,
            private_network: new.private_network,
            ca_pem: new.ca_pem,
            dialect: new.dialect,
            pass_cookies: new.pass_cookies,
            credential: None,
            status: ResourceStatus::Active,
            added_at: self.now(),
        };
        well_formed(&resource)?;
        let resource = self
            .store
            .change(move |tx| {
                if tx.resource(&tenant, &resource.name)?.is_some() {
                    let detail = format!("a resource `{}` was registered before", resource.name);
                    let next = "Choose another name (names are never given twice), or change it: `accredit resource change`.";
                    return Err(Fault::conflict("resource_exists", detail, next));
                }
                must_answer(tx, &tenant, &resource.owner)?;
                endpoints_free(tx, &resource)?;
                tx.put_resource(&resource)?;
                let event = Event::new(&tenant, "resource.added")
                    .with("resource", &resource.name)
                    .with("owner", &resource.owner)
                    .with("environment", &resource.environment)
                    .with("sensitivity", resource.sensitivity.as_str())
                    .with("mode", resource.mode.as_str())
                    .with_list("hosts", &resource.endpoints)
                    .with("by", by);
                tx.append(event)?;
                Ok(resource)
            })
            .await?;
        Ok(resource)
    }

    /// Changes a resource. When the places change where the value of its credential may go, the value is
    /// dropped and what is under way with it is cut.
    ///
    /// # Errors
    /// [`Fault`] when there is no such resource, it is retired, or the change does not fit.
    pub async fn change_resource(
        &self,
        by: &Operator,
        name: ResourceName,
        change: ResourceChange,
    ) -> Result<ResourceChanged, Fault> {
        let doing = self.change_resource_unchecked(by.name().clone(), name.clone(), change);
        let changed = self.as_operator(by, Operation::ResourceChange, &name, doing).await?;
        if let Some(credential) = &changed.dropped {
            self.cut_credential(credential).await;
        }
        Ok(changed)
    }

    async fn change_resource_unchecked(
        &self,
        by: Owner,
        name: ResourceName,
        change: ResourceChange,
    ) -> Result<ResourceChanged, Fault> {
        let tenant = self.tenant().clone();
        let changed = self
            .store
            .change(move |tx| {
                let before = in_use(tx, &tenant, &name)?;
                let after = change.apply(&before);
                let fields = changed_fields(&before, &after);
                if fields.is_empty() {
                    return Ok(ResourceChanged { resource: before, dropped: None });
                }
                well_formed(&after)?;
                if after.owner != before.owner {
                    must_answer(tx, &tenant, &after.owner)?;
                }
                endpoints_free(tx, &after)?;
                let dropped =
                    if goes_elsewhere(&before, &after) { drop_value(tx, &after, &by)? } else { None };
                tx.put_resource(&after)?;
                let event = Event::new(&tenant, "resource.changed")
                    .with("resource", &after.name)
                    .with_list("fields", fields)
                    .with("mode", after.mode.as_str())
                    .with_list("hosts", &after.endpoints)
                    .with("owner", &after.owner)
                    .with("by", &by)
                    .with_opt("reason", change.reason.as_ref());
                tx.append(event)?;
                Ok::<_, Fault>(ResourceChanged { resource: after, dropped })
            })
            .await?;
        Ok(changed)
    }

    /// Takes a resource out of use for ever; the value of its credential is dropped.
    ///
    /// # Errors
    /// [`Fault`] when there is no such resource or it is retired.
    pub async fn retire_resource(
        &self,
        by: &Operator,
        name: ResourceName,
        reason: Option<Reason>,
    ) -> Result<Resource, Fault> {
        let doing = self.retire_unchecked(by.name().clone(), name.clone(), reason);
        let changed = self.as_operator(by, Operation::ResourceRetire, &name, doing).await?;
        if let Some(credential) = &changed.resource.credential {
            self.cut_credential(credential).await;
        }
        Ok(changed.resource)
    }

    async fn retire_unchecked(
        &self,
        by: Owner,
        name: ResourceName,
        reason: Option<Reason>,
    ) -> Result<ResourceChanged, Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let changed = self
            .store
            .change(move |tx| {
                let before = in_use(tx, &tenant, &name)?;
                let dropped = drop_value(tx, &before, &by)?;
                let resource = retired(before, now);
                tx.put_resource(&resource)?;
                let event = Event::new(&tenant, "resource.retired").with("resource", &name).with("by", &by);
                tx.append(event.with_opt("reason", reason))?;
                Ok::<_, Fault>(ResourceChanged { resource, dropped })
            })
            .await?;
        Ok(changed)
    }
}

fn retired(resource: Resource, at: Timestamp) -> Resource {
    Resource { status: ResourceStatus::Retired { at }, ..resource }
}

/// The resource, if it is there and in use.
pub(crate) fn in_use(view: &View<'_>, tenant: &TenantName, name: &ResourceName) -> Result<Resource, Fault> {
    let resource = view.resource(tenant, name)?.ok_or_else(|| Fault::not_found("resource", name))?;
    if resource.active() {
        return Ok(resource);
    }
    Err(Fault::conflict(
        "resource_retired",
        format!("`{name}` is out of use"),
        "Register a new resource under another name.",
    ))
}

/// Whether a value that could only go to the places of `before` could now go elsewhere.
fn goes_elsewhere(before: &Resource, after: &Resource) -> bool {
    before.endpoints != after.endpoints
        || before.ca_pem != after.ca_pem
        || (after.private_network && !before.private_network)
}

/// Drops the value of the resource's credential, if it holds one.
fn drop_value(tx: &mut Tx<'_>, resource: &Resource, by: &Owner) -> Result<Option<CredentialName>, Fault> {
    let Some(name) = &resource.credential else { return Ok(None) };
    let Some(credential) = tx.credential(&resource.tenant, name)? else { return Ok(None) };
    let Some(version) = credential.secret_version else { return Ok(None) };
    let credential: Credential = credential.without_value();
    tx.delete_sealed(&resource.tenant, name)?;
    tx.put_credential(&credential)?;
    let event = Event::new(&resource.tenant, "secret.dropped")
        .with("credential", name)
        .with_number("version", version.into())
        .with("resource", &resource.name)
        .with("by", by)
        .with("reason", "where it may go was changed");
    tx.append(event)?;
    Ok(Some(name.clone()))
}

fn changed_fields(before: &Resource, after: &Resource) -> Vec<&'static str> {
    let all = [
        ("owner", before.owner != after.owner),
        ("environment", before.environment != after.environment),
        ("sensitivity", before.sensitivity != after.sensitivity),
        ("mode", before.mode != after.mode),
        ("endpoints", before.endpoints != after.endpoints),
        ("private_network", before.private_network != after.private_network),
        ("ca_pem", before.ca_pem != after.ca_pem),
        ("dialect", before.dialect != after.dialect),
        ("pass_cookies", before.pass_cookies != after.pass_cookies),
    ];
    all.into_iter().filter(|(_, changed)| *changed).map(|(field, _)| field).collect()
}

fn well_formed(resource: &Resource) -> Result<(), Fault> {
    let places = &resource.endpoints;
    if !(1..=ENDPOINTS_MAX).contains(&places.len()) {
        let detail = format!("a resource has 1 to {ENDPOINTS_MAX} endpoints");
        return Err(Fault::invalid("endpoints", detail, "Name each exact host that it answers at."));
    }
    if let Some(twice) = places.iter().enumerate().find(|(i, e)| places[..*i].contains(e)) {
        return Err(Fault::invalid(
            "endpoints",
            format!("`{}` stands twice", twice.1),
            "Name each endpoint once.",
        ));
    }
    resource.ca_pem.as_deref().map_or(Ok(()), is_certificates)
}

/// Certificates in PEM and nothing else (RFC 7468 §5), each of which can stand as an authority.
fn is_certificates(text: &str) -> Result<(), Fault> {
    let bad = |why: &str| {
        Err(Fault::invalid("ca_pem", format!("`ca_pem` {why}"), "Give one or more PEM certificates."))
    };
    if text.len() > CA_PEM_BYTES_MAX {
        return bad("is too long");
    }
    let mut inside = false;
    let mut blocks = 0;
    for line in text.lines().map(str::trim_end) {
        match line {
            PEM_BEGIN if !inside => inside = true,
            PEM_END if inside => {
                inside = false;
                blocks += 1;
            }
            "" if !inside => {}
            _ if inside && line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) => {}
            _ => return bad("holds something else than certificates"),
        }
    }
    if inside || blocks == 0 {
        return bad("holds no whole certificate");
    }
    if CertificateDer::pem_slice_iter(text.as_bytes()).all(is_authority) {
        Ok(())
    } else {
        bad("holds a certificate that cannot be read")
    }
}

fn is_authority(der: Result<CertificateDer<'_>, pem::Error>) -> bool {
    der.is_ok_and(|der| webpki::anchor_from_trusted_cert(&der).is_ok())
}

fn endpoints_free(view: &View<'_>, resource: &Resource) -> Result<(), Fault> {
    for endpoint in &resource.endpoints {
        if let Some(other) =
            view.resource_at(&resource.tenant, endpoint)?.filter(|other| other.name != resource.name)
        {
            let detail = format!("`{endpoint}` belongs to the resource `{}`", other.name);
            return Err(Fault::conflict(
                "endpoint_taken",
                detail,
                "Use that resource, or change its endpoints first.",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_certificate_is_refused() {
        let good = include_str!("../tests/authority.pem");
        assert!(is_certificates(&format!("{good}\n{good}")).is_ok());
        let key = good.replace("CERTIFICATE", "PRIVATE KEY");
        let cut = good.replace(PEM_END, "");
        for bad in [
            "",
            "MIIB",
            &key,
            &cut,
            &format!("{good}x"),
            &good.replace("MIIB", "MI\u{00e9}B"),
            &good.replace("MIIB", "MIIA"),
            &format!("{good}{PEM_BEGIN}\nMIIB\n{PEM_END}\n"),
            &format!("{PEM_BEGIN}\n{PEM_END}\n"),
            &"\n".repeat(70_000),
        ] {
            assert!(is_certificates(bad).is_err(), "{bad:.40}");
        }
    }
}
