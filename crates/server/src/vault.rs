//! The vault over HTTP: sealed or not, and the rotation of its keys.

use accredit_api::vault::{RotateVault, Vault, VaultKey};
use accredit_core::rights::Operation;
use axum::Json as Reply;
use axum::extract::State;

use crate::access::By;
use crate::app::App;
use crate::extract::Json;
use crate::problem::Failure;

async fn state(app: &App) -> Result<Reply<Vault>, Failure> {
    let state = app.authority().vault_state().await?;
    Ok(Reply(Vault {
        sealed: state.sealed,
        kek: state.kek,
        deks: state.data_keys.iter().map(ToString::to_string).collect(),
        secrets: state.secrets,
    }))
}

/// Shows whether secrets can be opened, and the names of the keys
#[utoipa::path(get, path = "/v1/vault", tag = "vault", responses((status = 200, body = Vault)))]
pub(crate) async fn get(State(app): State<App>, _: By) -> Result<Reply<Vault>, Failure> {
    state(&app).await
}

/// Changes a key of the vault
#[utoipa::path(post, path = "/v1/vault/rotate", tag = "vault", request_body = RotateVault, responses((status = 200, body = Vault)))]
pub(crate) async fn rotate(
    State(app): State<App>,
    By(by): By,
    Json(body): Json<RotateVault>,
) -> Result<Reply<Vault>, Failure> {
    let (authority, name) = (app.authority(), by.name().as_str());
    match body.key {
        VaultKey::Kek => {
            authority
                .as_operator(&by, Operation::VaultRotate, "kek", authority.rotate_key_encryption_key(name))
                .await?
        }
        VaultKey::Dek => {
            authority.as_operator(&by, Operation::VaultRotate, "dek", authority.rotate_data_key(name)).await?
        }
    };
    state(&app).await
}
