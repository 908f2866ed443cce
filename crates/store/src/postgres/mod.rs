//! The database that replicas share: PostgreSQL. The only state that they have in common.

mod address; //  where it is, and how its server is known
mod changes; //  the writer of changes, one of all replicas at a time
mod leader; //   places in the ledger: one replica gives them
mod pool; //     sessions that read
mod records; //  the writer of decisions and outcomes
mod replicas; // who works on it, and what is to be cut everywhere
mod schema; //   the schema and its history
mod session; //  sessions that write
mod sighting;
mod stamps; //   how uses and changes share versions // what others renew, by this replica's own clock

use std::sync::Arc;

use accredit_core::digest::Digest;
use tokio::runtime::Handle;

pub use address::{Address, AddressError};
use changes::Changes;
pub(crate) use changes::alone;
pub(crate) use leader::{Leader, Led, Placed, place};
use pool::PgPool;
use records::Records;
pub(crate) use replicas::Replicas;
pub use replicas::{Cut, CutOrder, Lost, STALE_AFTER};
pub(crate) use schema::{SCHEMA, check as check_schema};
pub use schema::{SchemaError, prepare};
use session::Backend;
pub(crate) use stamps::raise;

/// A shared database, as one replica works on it.
pub(crate) struct Postgres {
    address: Arc<Address>,
    replica: Arc<str>,
    pool: PgPool,
    leader: Leader,
    replicas: Replicas,
}

impl Postgres {
    /// Makes sure that the database can be worked on, and joins the replicas that do.
    pub(crate) async fn join(address: Address) -> Result<Self, SchemaError> {
        let address = Arc::new(address);
        let client = address.connect("accredit start", &[("search_path", SCHEMA)]).await?.drive();
        schema::check(&client).await?;
        let replica = name(&client).await?;
        let replicas = Replicas::join(Arc::clone(&address), Arc::clone(&replica)).await?;
        let runtime = Handle::current();
        Ok(Self {
            pool: PgPool::new(Arc::clone(&address), runtime.clone()),
            leader: Leader::new(Arc::clone(&address), runtime, Arc::clone(&replica)),
            replicas,
            address,
            replica,
        })
    }

    /// The writer of changes, and that of decisions and outcomes.
    pub(crate) fn writers(&self, runtime: &Handle) -> (Changes, Records) {
        let (address, replica) = (|| Arc::clone(&self.address), || Arc::clone(&self.replica));
        let changes = Changes {
            address: address(),
            runtime: runtime.clone(),
            replica: replica(),
            hearing: self.replicas.hearing(),
            last: Backend::default(),
        };
        let records = Records {
            address: address(),
            runtime: runtime.clone(),
            replica: replica(),
            last: Backend::default(),
        };
        (changes, records)
    }

    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) const fn leader(&self) -> &Leader {
        &self.leader
    }

    pub(crate) const fn replicas(&self) -> &Replicas {
        &self.replicas
    }
}

/// A name that no other replica has: drawn by the database, from its own generator.
async fn name(client: &tokio_postgres::Client) -> Result<Arc<str>, SchemaError> {
    let row = client.query_one("SELECT CAST(gen_random_uuid() AS TEXT)", &[]).await?;
    let drawn: String = row.get(0);
    let digest = Digest::of(drawn.as_bytes()).to_string();
    let short: String = digest.chars().filter(char::is_ascii_alphanumeric).skip(6).take(16).collect();
    Ok(format!("r_{short}").into())
}
