//! A real witness over loopback: what it cosigns, what it never takes back, and what a client hears.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use accredit_ledger::Hash;
use accredit_ledger::checkpoint::Checkpoint;
use accredit_ledger::hash::leaf_hash;
use accredit_ledger::note::{CosignerKey, Signer};
use accredit_ledger::tile::Tile;
use accredit_ledger::tree::{append, consistency_proof, root_at};
use accredit_ledger::witness::{AddCheckpoint, REQUEST_BYTES_MAX, Refusal};
use accredit_witness::{Answer, OpenError, Reply, Witness, WitnessClient, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const ORIGIN: &str = "accredit.test/ledger";
const NAME: &str = "witness.test/w1";

/// A log of so many entries; `salt` tells histories apart.
struct Log {
    size: u64,
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
}

impl Log {
    fn of(size: u64, salt: u64) -> Self {
        let leaves: Vec<Hash> = (0..size).map(|i| leaf_hash(format!("{salt} {i}").as_bytes())).collect();
        let appended = append(0, &leaves, |_| Ok::<_, Infallible>(None)).expect("nothing to read");
        let tiles = appended.tiles.into_iter().map(|(tile, bytes)| ((tile.level(), tile.index()), bytes));
        Self { size, tiles: tiles.collect() }
    }

    fn read(&self, tile: Tile) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.tiles.get(&(tile.level(), tile.index())).cloned())
    }

    fn head(&self, size: u64) -> Checkpoint {
        let root = root_at(size, self.size, |tile| self.read(tile)).expect("tiles are there");
        Checkpoint::new(ORIGIN, size, root).expect("a checkpoint")
    }

    fn request(&self, old: u64, size: u64) -> AddCheckpoint {
        let proof = match old {
            0 => Vec::new(),
            old => consistency_proof(old, size, |tile| self.read(tile)).expect("tiles are there"),
        };
        AddCheckpoint::new(old, proof, self.head(size).sign(&signer()).expect("of its own log"))
    }
}

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[7; 32]).expect("a signer")
}

fn init(dir: &Path) -> CosignerKey {
    Witness::init(dir, NAME, &[9; 32], &[signer().verifier().clone()]).expect("a new witness")
}

fn ask(witness: &Witness, request: &AddCheckpoint) -> Result<(), Refusal> {
    match witness.answer(&request.encode(), || 1_760_000_000) {
        Reply::Cosigned(_) => Ok(()),
        Reply::Refused(refusal) => Err(refusal),
        Reply::Failed => panic!("the disk takes files"),
    }
}

struct Serving {
    client: WitnessClient,
    address: std::net::SocketAddr,
    _stop: watch::Sender<bool>,
}

async fn start(dir: &Path) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its number");
    let (stop, stopped) = watch::channel(false);
    let witness = Arc::new(Witness::open(dir).expect("a witness"));
    tokio::spawn(serve(listener, witness, stopped));
    let client = WitnessClient::parse(&format!("http://{address}")).expect("a URL");
    Serving { client, address, _stop: stop }
}

// case: AUD-06, AUD-07
#[tokio::test]
async fn a_log_that_goes_on_is_cosigned_and_one_that_goes_back_or_splits_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = init(dir.path());
    let serving = start(dir.path()).await;
    let (log, other) = (Log::of(600, 1), Log::of(600, 2));
    let ask = async |log: &Log, old, size| {
        let request = log.request(old, size);
        serving.client.add_checkpoint(&request, &log.head(size), &key).await.expect("an answer")
    };
    for (old, size) in [(0, 300), (300, 600), (600, 600)] {
        let Answer::Cosigned(cosignature) = ask(&log, old, size).await else { panic!("{old} to {size}") };
        assert_eq!(cosignature.by(), &key);
    }
    assert_eq!(ask(&log, 300, 500).await, Answer::Last(600), "a log that went back");
    assert_eq!(ask(&log, 0, 600).await, Answer::Last(600), "asked as for the first time");
    assert_eq!(ask(&other, 600, 600).await, Answer::Last(600), "another root of the same size");
    let longer = Log::of(700, 2);
    assert_eq!(ask(&longer, 600, 700).await, Answer::NotAPrefix, "another history");
}

// case: AUD-06
#[test]
fn what_was_cosigned_outlives_a_restart_and_is_never_lost_to_a_broken_file() {
    let dir = tempfile::tempdir().expect("a directory");
    init(dir.path());
    let log = Log::of(20, 1);
    let witness = Witness::open(dir.path()).expect("a witness");
    assert_eq!(ask(&witness, &log.request(0, 10)), Ok(()));
    assert!(matches!(Witness::open(dir.path()), Err(OpenError::Running(_))), "one at a time");
    drop(witness);
    let witness = Witness::open(dir.path()).expect("again");
    assert_eq!(ask(&witness, &log.request(0, 10)), Err(Refusal::Conflict { size: 10 }));
    drop(witness);
    let seen = std::fs::read_dir(dir.path().join("seen")).expect("a listing");
    let file = seen.flatten().next().expect("a file").path();
    let text = std::fs::read_to_string(&file).expect("a checkpoint");
    for broken in ["", &text[..text.len() / 2], &text.replacen("\n10\n", "\n9\n", 1)] {
        std::fs::write(&file, broken).expect("written");
        assert!(matches!(Witness::open(dir.path()), Err(OpenError::Book(_))), "{broken:?}");
    }
}

/// The race of the specification: every request is good by itself, and none may take back what another was given.
// case: AUD-06
#[test]
fn of_requests_that_race_none_takes_a_size_back() {
    const RACERS: u64 = 8;
    let dir = tempfile::tempdir().expect("a directory");
    init(dir.path());
    let log = Log::of(1_000, 1);
    let witness = Witness::open(dir.path()).expect("a witness");
    let mut last = 0;
    for round in 0..10 {
        let sizes = (1..=RACERS).map(|racer| last + racer + round);
        let answers: Vec<(u64, Result<(), Refusal>)> = std::thread::scope(|scope| {
            let racers: Vec<_> = sizes
                .map(|size| {
                    let (witness, request) = (&witness, log.request(last, size));
                    scope.spawn(move || (size, ask(witness, &request)))
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("an answer")).collect()
        });
        let cosigned: Vec<u64> = answers.iter().filter(|(_, a)| a.is_ok()).map(|(size, _)| *size).collect();
        let [size] = cosigned[..] else { panic!("one of them: {cosigned:?}") };
        for (_, answer) in answers.iter().filter(|(_, a)| a.is_err()) {
            assert_eq!(*answer, Err(Refusal::Conflict { size }));
        }
        last = size;
    }
}

#[test]
fn a_checkpoint_that_cannot_be_kept_is_not_cosigned() {
    let dir = tempfile::tempdir().expect("a directory");
    init(dir.path());
    let witness = Witness::open(dir.path()).expect("a witness");
    let seen = dir.path().join("seen");
    std::fs::remove_dir(&seen).expect("it was empty");
    std::fs::write(&seen, "").expect("a file where the directory was");
    let request = Log::of(5, 1).request(0, 5).encode();
    assert_eq!(witness.answer(&request, || 1), Reply::Failed);
}

async fn raw(serving: &Serving, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(serving.address).await.expect("a connection");
    // The witness may answer and close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn every_answer_is_that_of_the_protocol_and_requests_are_bounded() {
    let dir = tempfile::tempdir().expect("a directory");
    init(dir.path());
    let serving = start(dir.path()).await;
    let post = |body: &str| {
        let length = body.len();
        format!(
            "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let log = Log::of(5, 1);
    let largest = "x".repeat(REQUEST_BYTES_MAX);
    for (request, status) in [
        (post(&log.request(0, 3).encode()), "200"),
        (post(&log.request(0, 3).encode()), "409"),
        (post(""), "400"),
        (post("old 0\n\nother.test\n1\nx\n"), "404"),
        (post(&log.request(3, 5).encode().replacen("\n5\n", "\n4\n", 1)), "403"),
        (post(&largest), "400"),
        (post(&format!("{largest}x")), "413"),
        ("GET /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\n\r\n".to_owned(), "405"),
        (
            "POST /other HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "404",
        ),
    ] {
        let answer = raw(&serving, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        if status == "409" {
            assert!(answer.contains("content-type: text/x.tlog.size\r\n"), "{answer}");
            assert!(answer.ends_with("\r\n\r\n3\n"), "{answer}");
        }
    }
}
