//! The cluster itself: who may come in, what a kill leaves, and that nothing of it stays on the machine.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use accredit_tests_postgres::database::psql_at;
use accredit_tests_postgres::{Cluster, Options, Role, Standby, Stop};

const TABLE: &str =
    "CREATE TABLE note (id int PRIMARY KEY); GRANT INSERT, SELECT ON note TO accredit_service";

#[test]
fn clients_come_over_verified_tls_with_their_password_and_no_other_way() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let url = database.url(Role::Service);
    let other = Cluster::start(Options::default());
    let (mine, theirs) = (cluster.root_certificate(), other.root_certificate());
    let swapped = url.replace(&mine.display().to_string(), &theirs.display().to_string());
    let renamed = url.replace("localhost", "other.test") + "&hostaddr=127.0.0.1";
    let password = url.split([':', '@']).nth(2).expect("a password");
    let cases = [
        ("as it is", url.clone(), Ok("t")),
        ("without TLS", url.replace("verify-full", "disable"), Err("no encryption")),
        ("another authority", swapped, Err("SSL error")),
        ("another name", renamed, Err("does not match host name")),
        ("another password", url.replace(password, "guess"), Err("password authentication failed")),
    ];
    for (what, url, expected) in cases {
        let said = psql_at(&url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
        match (said, expected) {
            (Ok(rows), Ok(expected)) => assert_eq!(rows, expected, "{what}"),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{what}: {said}"),
            (said, _) => panic!("{what}: {said:?}"),
        }
    }
}

#[test]
fn the_service_owns_nothing_and_the_owner_is_no_superuser() {
    let database = Cluster::shared().database();
    database.psql(Role::Owner, TABLE).expect("the owner makes tables");
    let rights = "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication \
                  FROM pg_roles WHERE rolname = current_user";
    for role in [Role::Owner, Role::Service] {
        assert_eq!(database.psql(role, rights).as_deref(), Ok("f"), "{role:?}");
    }
    database.psql(Role::Service, "INSERT INTO note VALUES (1)").expect("it was granted");
    let cases = ["DELETE FROM note", "DROP TABLE note", "CREATE TABLE other (id int)", "TRUNCATE note"];
    for sql in cases {
        let said = database.psql(Role::Service, sql).expect_err(sql);
        assert!(said.contains("permission denied") || said.contains("must be owner"), "{sql}: {said}");
    }
}

#[test]
fn databases_are_apart_and_copies_start_as_they_were_prepared() {
    let cluster = Cluster::shared();
    let copy = || {
        cluster.database_like("with a table", |empty| {
            empty.psql(Role::Owner, TABLE).map(drop).expect("a table");
        })
    };
    let (first, second) = (copy(), copy());
    first.psql(Role::Service, "INSERT INTO note VALUES (1)").expect("a row");
    assert_eq!(second.psql(Role::Service, "SELECT count(*) FROM note").as_deref(), Ok("0"));
    let name = first.name().to_owned();
    drop(first);
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(cluster.admin(&left), "0", "a database goes with its test");
}

#[test]
fn nothing_weakens_durability() {
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(Cluster::shared().admin(&format!("SHOW {setting}")), "on", "{setting}");
    }
}

/// Ends a server and brings it back.
type Way = fn(&mut Cluster);

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_after_each_way_to_stop() {
    let mut cluster = Cluster::start(Options::default());
    let database = cluster.database();
    database.psql(Role::Owner, TABLE).expect("a table");
    let ways: [(&str, Way); 3] = [
        ("kill -9", |cluster| {
            cluster.server_mut().kill();
            cluster.server_mut().start();
        }),
        ("immediate", |cluster| cluster.server_mut().restart(Stop::Immediate)),
        ("fast", |cluster| cluster.server_mut().restart(Stop::Fast)),
    ];
    for (n, (what, way)) in ways.into_iter().enumerate() {
        database.psql(Role::Service, &format!("INSERT INTO note VALUES ({n})")).expect("acknowledged");
        way(&mut cluster);
        let rows = database.psql(Role::Service, "SELECT count(*) FROM note").expect("it answers");
        assert_eq!(rows, (n + 1).to_string(), "{what}");
    }
    assert!(cluster.server().log().contains("was not properly shut down"), "it had to recover");
}

#[test]
fn a_promoted_standby_has_what_the_first_server_acknowledged() {
    let mut cluster = Cluster::start(Options::default());
    let database = cluster.database();
    database.psql(Role::Owner, TABLE).expect("a table");
    let standby = Standby::of(&cluster, &[], &[]);
    let both = database.url_at(Role::Service, &[cluster.host().clone(), standby.host().clone()]);
    for id in 0..20 {
        psql_at(&both, &format!("INSERT INTO note VALUES ({id})")).expect("acknowledged");
    }
    cluster.server_mut().kill();
    standby.promote();
    assert_eq!(psql_at(&both, "SELECT count(*) FROM note").as_deref(), Ok("20"));
    psql_at(&both, "INSERT INTO note VALUES (20)").expect("it accepts writes");
}

/// Not a test: what the next one kills.
#[test]
#[ignore = "another test starts this one"]
fn says_where_its_server_runs_and_stays() {
    let cluster = Cluster::shared();
    println!("{} {}", cluster.server().pid(), cluster.home().path().display());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_test_that_is_killed_leaves_nothing() {
    let mut test = Command::new(std::env::current_exe().expect("a test knows its own path"))
        .args(["--ignored", "--exact", "says_where_its_server_runs_and_stays", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can be started");
    let output = BufReader::new(test.stdout.take().expect("it has an output"));
    let mut lines = output.lines().map(|line| line.expect("text"));
    let line = lines.find(|line| line.contains("accredit-home-")).expect("it says where it runs");
    let (pid, home) = line.rsplit_once(' ').expect("two words");
    let process = Path::new("/proc").join(pid.rsplit(' ').next().expect("a word"));
    assert!(process.exists() && Path::new(home).exists(), "the server runs");
    test.kill().and_then(|()| test.wait()).expect("it was killed");
    let until = Instant::now() + Duration::from_secs(30);
    while Path::new(home).exists() || process.exists() {
        assert!(Instant::now() < until, "{home} or {} is still there", process.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}
