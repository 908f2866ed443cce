//! Two replicas behind a real balancer, with the file that `deploy/` ships: a replica that stops takes no request with it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use accredit_tests::agent::Agent;
use accredit_tests::harness::{
    Accredit, Said, Setup, free_port, http_get, root, shared_database, signal, wait_for,
};
use accredit_tests::world::World;
use accredit_tests_pki::Pki;
use rustix::process::Signal;

/// Clients at work while a replica stops.
const CLIENTS: usize = 3;
/// How long a stop is announced: longer than the balancer needs to see it.
const DRAIN_DELAY: &str = "3s";

/// Where everything listens: replicas have addresses of their own and ports in common, as on two machines.
#[derive(Clone, Copy)]
struct Ports {
    control: u16,
    gateway: u16,
    front_control: u16,
    front_gateway: u16,
}

impl Ports {
    fn free() -> Self {
        Self {
            control: free_port(),
            gateway: free_port(),
            front_control: free_port(),
            front_gateway: free_port(),
        }
    }

    fn replica(self, n: u8) -> (SocketAddr, SocketAddr) {
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, n));
        (SocketAddr::new(ip, self.control), SocketAddr::new(ip, self.gateway))
    }

    fn front(self) -> (SocketAddr, SocketAddr) {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        (at(self.front_control), at(self.front_gateway))
    }
}

/// The shipped file with the addresses of this test.
fn here(file: &str, ports: Ports) -> String {
    let text = std::fs::read_to_string(root().join("deploy").join(file)).expect("the shipped file");
    text.replace("bind :443", &format!("bind 127.0.0.1:{}", ports.front_control))
        .replace("bind :9749", &format!("bind 127.0.0.1:{}", ports.front_gateway))
        .replace("listen 443", &format!("listen 127.0.0.1:{}", ports.front_control))
        .replace("listen 9749", &format!("listen 127.0.0.1:{}", ports.front_gateway))
        .replace("10.0.0.", "127.0.0.")
        .replace("9748", &ports.control.to_string())
        .replace("9749", &ports.gateway.to_string())
}

/// A certificate for `localhost` with its key, in one file and in two.
fn certificate(dir: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let pem = Pki::new().and_then(|pki| pki.server_pem(&["localhost".to_owned()])).expect("a certificate");
    let at = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    (
        at("both.pem", format!("{}{}", pem.certificate, pem.key)),
        at("cert.pem", pem.certificate.clone()),
        at("key.pem", pem.key.clone()),
    )
}

fn said(command: &mut Command) -> Output {
    command.output().expect("it is installed: scripts/setup-tests")
}

#[test]
fn the_balancers_take_the_files_that_are_shipped() {
    let dir = tempfile::tempdir().expect("a directory");
    let (both, certificate, key) = certificate(dir.path());
    let ports = Ports::free();
    let (haproxy, nginx) = (dir.path().join("haproxy.cfg"), dir.path().join("nginx.conf"));
    let shown = |path: &Path| path.display().to_string();
    let text = here("haproxy/haproxy.cfg", ports).replace("/etc/ssl/private/accredit.pem", &shown(&both));
    std::fs::write(&haproxy, text).expect("a file");
    let text = here("nginx/accredit.conf", ports)
        .replace("/etc/ssl/certs/accredit.pem", &shown(&certificate))
        .replace("/etc/ssl/private/accredit.key", &shown(&key));
    std::fs::write(&nginx, text).expect("a file");
    let checked = Said::of(&said(Command::new("haproxy").args(["-c", "-f"]).arg(&haproxy)));
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    let pid = format!("pid {}; error_log stderr;", dir.path().join("nginx.pid").display());
    let checked = Said::of(&said(Command::new("nginx").args(["-t", "-g", &pid, "-c"]).arg(&nginx)));
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
}

/// A running HAProxy, which goes with the test.
struct Balancer(Child);

impl Balancer {
    fn start(dir: &Path, ports: Ports) -> Self {
        let file = dir.join("haproxy.cfg");
        // The clients of this test speak plain HTTP to the control plane.
        let text = here("haproxy/haproxy.cfg", ports).replace(" ssl crt /etc/ssl/private/accredit.pem", "");
        std::fs::write(&file, text).expect("a file");
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("it is installed: scripts/setup-tests"))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two replicas with the names that the balancer gives them.
fn replicas(ports: Ports) -> (World, Accredit) {
    let database = shared_database();
    let (control, gateway) = ports.front();
    let urls = (format!("http://{control}"), format!("http://{gateway}"));
    let named = format!("drain_delay = \"{DRAIN_DELAY}\"\n");
    let setup = |n: u8, config: String| Setup {
        shared: Some(database.clone()),
        addresses: Some(ports.replica(n)),
        urls: Some(urls.clone()),
        config,
        ..Setup::default()
    };
    let world = World::start(setup(11, named.clone()));
    let key = world.accredit.state().join("seal.key");
    let config = format!("{named}seal = {{ kind = \"file\", path = \"{}\" }}", key.display());
    let other = Accredit::start(Setup { names: Some(world.names.clone()), ..setup(12, config) });
    (world, other)
}

#[test]
fn a_replica_that_stops_takes_no_request_with_it() {
    let ports = Ports::free();
    let (mut world, mut other) = replicas(ports);
    let dir = tempfile::tempdir().expect("a directory");
    let _balancer = Balancer::start(dir.path(), ports);
    let (control, gateway) = ports.front();
    let agent = Agent::register(&world.accredit, "shop-coder").through(control, gateway);
    let task = wait_for(|| agent.start(&["orders: GET /v1/**"], 3_600).ok());
    wait_for(|| agent.attach(&task).ok());
    let (done, used) = (AtomicBool::new(false), AtomicU64::new(0));
    let ask = || {
        let mut connection = agent.attach(&task)?;
        connection.get("orders", "/v1/orders/17").map(|(_, answer)| answer.status)
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut failed = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        match ask() {
                            Ok(200) => {
                                used.fetch_add(1, Ordering::Relaxed);
                            }
                            otherwise => failed.push(format!("{otherwise:?}")),
                        }
                    }
                    failed
                })
            })
            .collect();
        let more_is_done = || {
            let before = used.load(Ordering::Relaxed);
            wait_for(|| (used.load(Ordering::Relaxed) > before + 20).then_some(()));
        };
        more_is_done();
        for replica in [&mut world.accredit, &mut other] {
            signal(replica.pid(), Signal::TERM);
            let (status, body) =
                wait_for(|| http_get(replica.listen, "/v1/ready").ok().filter(|(status, _)| *status == 503));
            let body = String::from_utf8_lossy(&body).into_owned();
            assert!(status == 503 && body.contains("stopping"), "{body}");
            let (status, _) = http_get(replica.listen, "/v1/health").expect("it answers still");
            assert_eq!(status, 200, "what comes all the same is served");
            assert_eq!(replica.wait_for_end(), 0);
            more_is_done();
            replica.launch();
            replica.wait_until_ready();
            // The balancer wants to see it ready twice.
            std::thread::sleep(Duration::from_secs(3));
            more_is_done();
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            let failed = client.join().expect("no panic");
            assert_eq!(failed, Vec::<String>::new());
        }
    });
    assert_eq!(world.accredit.json(&["audit", "verify"])["ok"], true);
}

#[test]
fn a_stop_that_is_asked_for_twice_does_not_wait() {
    let mut accredit =
        Accredit::start(Setup { config: "drain_delay = \"5m\"".to_owned(), ..Setup::default() });
    signal(accredit.pid(), Signal::TERM);
    wait_for(|| http_get(accredit.listen, "/v1/ready").ok().filter(|(status, _)| *status == 503));
    signal(accredit.pid(), Signal::TERM);
    assert_eq!(accredit.wait_for_end(), 0);
}
