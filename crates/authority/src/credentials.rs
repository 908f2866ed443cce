//! Credentials: add, list, set and drop the value. A value goes in and never comes out: nothing here, and
//! nothing that this crate gives to anybody but the one permitted request, returns it.

use std::sync::Arc;

use accredit_core::credential::{Credential, CredentialStatus, Placement};
use accredit_core::event::Event;
use accredit_core::host::Endpoint;
use accredit_core::id::{CredentialName, ResourceName, TenantName};
use accredit_core::resource::Resource;
use accredit_core::rights::Operation;
use accredit_core::text::Owner;
use accredit_core::time::Timestamp;
use accredit_store::View;
use accredit_vault::SecretValue;

use crate::Authority;
use crate::admission::Of;
use crate::fault::Fault;
use crate::operators::{Operator, at};
use crate::owners::must_answer;
use crate::resources::in_use;

/// What is said of a new credential.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// A new name.
    pub name: CredentialName,
    /// The resource that it is the way into.
    pub resource: ResourceName,
    /// Who answers for it.
    pub owner: Owner,
    /// Who may revoke it at its source; the owner when absent.
    pub revocation_authority: Option<Owner>,
    /// When its value must have been changed.
    pub rotation_due: Option<Timestamp>,
    /// Where its secret goes.
    pub placement: Placement,
}

/// A credential and the places its value is bound to.
#[derive(Debug, Clone)]
pub struct CredentialDetails {
    /// The credential, without its value.
    pub credential: Credential,
    /// The endpoints of its resource.
    pub endpoints: Vec<Endpoint>,
}

impl Authority {
    /// Every credential, sorted by name.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn credentials(&self) -> Result<Vec<CredentialDetails>, Fault> {
        let tenant = self.tenant().clone();
        let read = move |view: &View<'_>| {
            view.credentials(&tenant)?.into_iter().map(|c| details(view, c)).collect::<Result<Vec<_>, _>>()
        };
        Ok(self.store.read(read).await?)
    }

    /// One credential.
    ///
    /// # Errors
    /// [`Fault`] when there is no such credential.
    pub async fn credential(&self, name: CredentialName) -> Result<CredentialDetails, Fault> {
        let (tenant, asked) = (self.tenant().clone(), name.clone());
        let read = move |view: &View<'_>| {
            let found = view.credential(&tenant, &asked)?;
            found.map(|credential| details(view, credential)).transpose()
        };
        self.store.read(read).await?.ok_or_else(|| Fault::not_found("credential", &name))
    }

    /// Adds a credential, the one way into its resource. Its value is set afterwards.
    ///
    /// # Errors
    /// [`Fault`] when the name was given before, the resource has a credential, or nobody answers for it.
    pub async fn add_credential(
        &self,
        by: &Operator,
        new: NewCredential,
    ) -> Result<CredentialDetails, Fault> {
        let (name, of) = (new.name.clone(), Of::Resource(new.resource.clone()));
        let doing = self.add_credential_unchecked(by.name().clone(), new);
        self.as_owner(by, Operation::CredentialAdd, of, &name, doing).await?;
        self.credential(name).await
    }

    async fn add_credential_unchecked(&self, by: Owner, new: NewCredential) -> Result<(), Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let credential = Credential {
            tenant: tenant.clone(),
            name: new.name,
            resource: new.resource,
            revocation_authority: new.revocation_authority.unwrap_or_else(|| new.owner.clone()),
            owner: new.owner,
            rotation_due: new.rotation_due,
            placement: new.placement,
            secret_version: None,
            last_version: 0,
            status: CredentialStatus::Active,
            added_at: now,
        };
        self.store
            .change(move |tx| {
                if tx.credential(&tenant, &credential.name)?.is_some() {
                    let detail = format!("a credential `{}` was added before", credential.name);
                    return Err(Fault::conflict(
                        "credential_exists",
                        detail,
                        "Choose another name: names are never given twice.",
                    ));
                }
                must_answer(tx, &tenant, &credential.owner)?;
                let resource = in_use(tx, &tenant, &credential.resource)?;
                if let Some(other) = active_credential(tx, &resource)? {
                    let detail = format!("`{}` has the credential `{}`", resource.name, other.name);
                    let next = "Set a new value for it, or revoke it first; a resource has one credential.";
                    return Err(Fault::conflict("resource_has_credential", detail, next));
                }
                let event = Event::new(&tenant, "credential.added")
                    .with("credential", &credential.name)
                    .with("resource", &resource.name)
                    .with("rung", "inject")
                    .with("owner", &credential.owner)
                    .with_list("hosts", &resource.endpoints)
                    .with("by", by);
                let event = match credential.rotation_due {
                    Some(due) => event.with_number("rotate_by", at(due)),
                    None => event,
                };
                tx.put_credential(&credential)?;
                tx.put_resource(&Resource { credential: Some(credential.name), ..resource })?;
                tx.append(event)?;
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// Seals a new value for a credential; the earlier one is forgotten.
    ///
    /// # Errors
    /// [`Fault`] when the value cannot stand in a header, the credential cannot hold one, or the vault is
    /// sealed. No fault repeats the value.
    pub async fn set_secret(
        self: &Arc<Self>,
        by: &Operator,
        name: CredentialName,
        value: Vec<u8>,
    ) -> Result<CredentialDetails, Fault> {
        // Taken before anything can fail, so that the bytes are wiped in every case.
        let value = SecretValue::new(value).map_err(|e| {
            Fault::invalid("secret_value", e.to_string(), "Give the value alone, as the service issued it.")
        });
        let doing = async { self.set_secret_unchecked(by.name().clone(), name.clone(), value?).await };
        self.as_owner(by, Operation::SecretSet, Of::Credential(name.clone()), &name, doing).await?;
        self.blobs.clear();
        self.credential(name).await
    }

    async fn set_secret_unchecked(
        self: &Arc<Self>,
        by: Owner,
        name: CredentialName,
        value: SecretValue,
    ) -> Result<(), Fault> {
        if self.vault().is_sealed() {
            return Err(Fault::sealed());
        }
        let (tenant, authority) = (self.tenant().clone(), self.clone());
        self.store
            .change(move |tx| {
                let credential = usable(tx, &tenant, &name)?.with_next_version();
                let resource = in_use(tx, &tenant, &credential.resource)?;
                let version = credential.last_version;
                let blob = authority.vault().seal_secret(&tenant, &name, version, &value);
                let blob = blob.map_err(|_| Fault::sealed())?;
                tx.delete_sealed(&tenant, &name)?;
                tx.put_sealed(&tenant, &name, version, &blob)?;
                tx.put_credential(&credential)?;
                let event = Event::new(&tenant, "secret.set")
                    .with("credential", &name)
                    .with_number("version", version.into())
                    .with("resource", &resource.name)
                    .with_list("hosts", &resource.endpoints)
                    .with("by", by);
                tx.append(event)?;
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// Forgets the value of a credential, and cuts what is under way with it.
    ///
    /// # Errors
    /// [`Fault`] when there is no such credential or it holds no value.
    pub async fn drop_secret(&self, by: &Operator, name: CredentialName) -> Result<CredentialDetails, Fault> {
        let (tenant, asked, who) = (self.tenant().clone(), name.clone(), by.name().clone());
        let doing = async {
            self.store
                .change(move |tx| {
                    let credential = usable(tx, &tenant, &asked)?;
                    let Some(version) = credential.secret_version else {
                        let detail = format!("`{asked}` holds no value");
                        return Err(Fault::conflict("no_value", detail, "Nothing is to be done."));
                    };
                    tx.delete_sealed(&tenant, &asked)?;
                    let event = Event::new(&tenant, "secret.dropped")
                        .with("credential", &asked)
                        .with_number("version", version.into())
                        .with("resource", &credential.resource)
                        .with("by", who);
                    tx.put_credential(&credential.without_value())?;
                    tx.append(event)?;
                    Ok(())
                })
                .await?;
            Ok(())
        };
        self.as_owner(by, Operation::SecretDrop, Of::Credential(name.clone()), &name, doing).await?;
        self.cut_credential(&name).await;
        self.credential(name).await
    }
}

fn details(view: &View<'_>, credential: Credential) -> Result<CredentialDetails, accredit_store::StoreError> {
    let resource = view.resource(&credential.tenant, &credential.resource)?;
    Ok(CredentialDetails { credential, endpoints: resource.map_or_else(Vec::new, |r| r.endpoints) })
}

fn active_credential(view: &View<'_>, resource: &Resource) -> Result<Option<Credential>, Fault> {
    let Some(name) = &resource.credential else { return Ok(None) };
    Ok(view.credential(&resource.tenant, name)?.filter(Credential::active))
}

fn usable(view: &View<'_>, tenant: &TenantName, name: &CredentialName) -> Result<Credential, Fault> {
    let credential = view.credential(tenant, name)?.ok_or_else(|| Fault::not_found("credential", name))?;
    if credential.active() {
        return Ok(credential);
    }
    Err(Fault::conflict(
        "credential_revoked",
        format!("`{name}` was revoked"),
        "Add a new credential for the resource.",
    ))
}
