//! Changes: all or nothing together with their entries, single use, one process, migrations of a file.

mod common;

use accredit_core::digest::Digest;
use accredit_core::event::Event;
use accredit_core::id::{AgentName, JoinTokenId, SessionId};
use accredit_store::{
    Cause, ChangeError, JoinToken, MigrateError, OpenError, OperatorLink, OperatorSession, Store, StoreError,
    Transport,
};
use common::{World, agent, config, fresh, now, on_both, open, place_all, resource, run, tenant};

#[derive(Debug)]
enum No {
    Thanks,
    Store(StoreError),
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn size(store: &Store) -> u64 {
    place_all(store).await;
    store.read(|view| view.ledger_size()).await.expect("read")
}

// case: AUD-12
#[test]
fn a_change_that_fails_leaves_nothing_of_itself_and_its_neighbours_alone() {
    on_both(async |place| {
        let store = place.open().await;
        let world = World::on(store.clone(), "acme").await;
        let before = size(&store).await;
        let mut bot = agent(&world.tenant);
        bot.name = AgentName::parse("half").expect("a name");
        let half = |bot: accredit_core::agent::Agent, how: u8| {
            store.change(move |tx| -> Result<(), No> {
                tx.put_agent(&bot)?;
                tx.append(Event::new(&bot.tenant, "agent.registered").with("agent", &bot.name))?;
                match how {
                    0 => Err(No::Thanks),
                    1 => panic!("a fault of the use case"),
                    2 => Ok(tx.append(Event::new(&bot.tenant, "no.such_kind"))?),
                    _ => Ok(()),
                }
            })
        };
        let (refused, panicked, unknown) =
            tokio::join!(half(bot.clone(), 0), half(bot.clone(), 1), half(bot.clone(), 2));
        assert!(matches!(refused, Err(ChangeError::Refused(No::Thanks))));
        assert!(matches!(panicked, Err(ChangeError::Unavailable(Cause::Panicked))));
        assert!(matches!(unknown, Err(ChangeError::Refused(No::Store(StoreError::Entry(_))))), "{unknown:?}");
        let (tenant, name) = (world.tenant.clone(), bot.name.clone());
        let found = store.read(move |view| view.agent(&tenant, &name)).await.expect("read");
        assert_eq!((found, size(&store).await), (None, before));
        half(bot, 3).await.expect("the same change without a fault");
        assert_eq!(size(&store).await, before + 1);
    });
}

// case: IDN-01
#[test]
fn fifty_users_redeem_a_join_token_once() {
    let hash = Digest::of(b"secret text");
    let token = JoinToken {
        id: JoinTokenId::from_random(fresh()),
        tenant: tenant("acme"),
        agent: AgentName::parse("bot").expect("a name"),
        hash,
        expires_at: now().plus_ms(1_000),
    };
    on_both(async |place| {
        let store = place.open().await;
        let kept = token.clone();
        store.change(move |tx| tx.put_join_token(&kept)).await.expect("kept");
        let late = store.change(move |tx| tx.redeem_join_token(&hash, now().plus_ms(1_000))).await;
        assert_eq!(late.expect("asked"), None, "expired");
        let users: Vec<_> = (0..50)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.change(move |tx| tx.redeem_join_token(&hash, now())).await })
            })
            .collect();
        let mut redeemed = Vec::new();
        for user in users {
            redeemed.extend(user.await.expect("no panic").expect("asked"));
        }
        assert_eq!(redeemed.as_slice(), std::slice::from_ref(&token));
        drop(store);
        let again = place.open().await.change(move |tx| tx.redeem_join_token(&hash, now())).await;
        assert_eq!(again.expect("asked"), None, "not after a restart either");
    });
}

// case: TOK-11
#[test]
fn a_proof_is_used_once_also_after_a_restart() {
    on_both(async |place| {
        let use_once = async |kind: &'static str, text: &'static [u8]| {
            let (hash, expires_at) = (Digest::of(text), now().plus_ms(60_000));
            let used = place.open().await.change(move |tx| tx.use_once(kind, &hash, expires_at)).await;
            used.expect("asked")
        };
        assert!(use_once("assertion", b"one").await);
        assert!(!use_once("assertion", b"one").await);
        assert!(use_once("assertion", b"two").await && use_once("other", b"one").await);
    });
}

#[test]
fn a_link_becomes_one_session_that_is_valid_on_its_transport_only() {
    on_both(async |place| {
        let store = place.open().await;
        let hash = Digest::of(b"link");
        let link = OperatorLink {
            hash,
            tenant: tenant("acme"),
            operator: "ana@corp".into(),
            role: "admin".into(),
            expires_at: now().plus_ms(1_000),
        };
        let session = OperatorSession {
            hash: Digest::of(b"session"),
            id: SessionId::from_random(fresh()),
            tenant: tenant("acme"),
            operator: "ana@corp".into(),
            role: "admin".into(),
            transport: Transport::Socket,
            created_at: now(),
            idle_expires_at: now().plus_ms(1_000),
            expires_at: now().plus_ms(9_000),
        };
        let (kept, begun) = (link.clone(), session.clone());
        store.change(move |tx| tx.put_operator_link(&kept)).await.expect("kept");
        let redeem = || store.change(move |tx| tx.redeem_operator_link(&hash, now()));
        assert_eq!(redeem().await.expect("asked"), Some(link));
        assert_eq!(redeem().await.expect("asked"), None);
        store.change(move |tx| tx.put_session(&begun)).await.expect("begun");
        let find = |transport, ms| {
            let hash = session.hash;
            store.read(move |view| view.session(&hash, transport, now().plus_ms(ms)))
        };
        assert_eq!(find(Transport::Socket, 0).await.expect("read"), Some(session.clone()));
        assert_eq!(find(Transport::Tcp, 0).await.expect("read"), None);
        assert_eq!(find(Transport::Socket, 1_000).await.expect("read"), None);
        let (hash, until) = (session.hash, now().plus_ms(20_000));
        store.change(move |tx| tx.touch_session(&hash, until)).await.expect("touched");
        assert!(find(Transport::Socket, 8_999).await.expect("read").is_some());
        assert_eq!(find(Transport::Socket, 9_000).await.expect("read"), None, "whatever its use");
        let (whose, other, id) = (session.tenant.clone(), tenant("other"), session.id.clone());
        let ended = store.change(move |tx| {
            Ok::<_, StoreError>((tx.end_session(&other, &id)?, tx.end_session(&whose, &id)?))
        });
        assert_eq!(ended.await.expect("ended"), (false, true));
    });
}

#[test]
fn an_endpoint_belongs_to_one_active_resource_of_a_tenant() {
    on_both(async |place| {
        let store = place.open().await;
        let (one, _) = (World::on(store.clone(), "one").await, World::on(store.clone(), "two").await);
        let first = resource(&one.tenant, accredit_core::resource::Mode::Enforce);
        let mut second = first.clone();
        second.name = accredit_core::id::ResourceName::parse("second").expect("a name");
        let put = |r: &accredit_core::resource::Resource| {
            let r = r.clone();
            store.change(move |tx| tx.put_resource(&r))
        };
        let taken = put(&second).await;
        assert!(matches!(taken, Err(ChangeError::Refused(StoreError::Conflict(_)))), "{taken:?}");
        let mut retired = first.clone();
        retired.status = accredit_core::resource::ResourceStatus::Retired { at: now() };
        put(&retired).await.expect("retired");
        put(&second).await.expect("the endpoint is free");
        let at =
            store.read(move |view| view.resource_at(&first.tenant, &first.endpoints[0])).await.expect("read");
        assert_eq!(at, Some(second));
    });
}

#[test]
fn a_second_process_is_told_that_the_database_is_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    assert!(matches!(Store::open(config(directory.path())), Err(OpenError::InUse(_))));
    drop(store);
    open(directory.path());
}

// case: FLT-20
#[test]
fn a_database_of_a_newer_version_is_refused_clearly() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()));
    let raw = rusqlite::Connection::open(config(directory.path()).path).expect("opens");
    raw.execute("INSERT INTO migration (number, checksum) VALUES (9999, 'x')", []).expect("written");
    let refused = Store::open(config(directory.path()));
    let Err(OpenError::Schema(MigrateError::Newer { found: 9999, known })) = refused else {
        panic!("it was opened, or refused for another reason");
    };
    assert!(known < 9999);
}

// case: FLT-03
#[test]
fn a_full_queue_refuses_at_once() {
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(accredit_store::StoreConfig { queue_max: 2, ..config(directory.path()) });
        let store = store.expect("opens");
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (begun, running) = tokio::sync::oneshot::channel();
        let slow = tokio::spawn({
            let store = store.clone();
            async move {
                let change = store.change(move |_| -> Result<(), StoreError> {
                    begun.send(()).expect("somebody waits");
                    wait.recv().expect("told to go on");
                    Ok(())
                });
                change.await
            }
        });
        running.await.expect("the writer is busy");
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.change(|_| Ok::<_, StoreError>(())).await })
            })
            .collect();
        while store.queued() < 2 {
            tokio::task::yield_now().await;
        }
        let refused = store.change(|_| Ok::<_, StoreError>(())).await;
        assert!(matches!(refused, Err(ChangeError::Full)), "{refused:?}");
        go.send(()).expect("the change waits");
        slow.await.expect("no panic").expect("done");
        for one in waiting {
            one.await.expect("no panic").expect("done");
        }
    });
}
