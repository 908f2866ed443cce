//! nginx with one worker: plain `proxy_pass`, and `auth_request` with an injected header, as a team would build it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Failure;
use crate::child::{Place, Process};

/// nginx in front of an upstream.
pub(crate) struct Nginx {
    pub(crate) process: Process,
    /// Where it passes requests on.
    pub(crate) plain: SocketAddr,
    /// Where it asks before it passes them on; it can only where that module is built in.
    pub(crate) asking: Option<SocketAddr>,
}

/// Starts nginx, its files below `directory`. `None`: it is not installed.
pub(crate) fn start(directory: &Path, upstream: SocketAddr) -> Result<Option<Nginx>, Failure> {
    let Some(program) = installed() else { return Ok(None) };
    let (plain, asking) = (free()?, free()?);
    for with_asking in [true, false] {
        let path = directory.join("nginx.conf");
        std::fs::write(&path, configuration(directory, upstream, plain, with_asking.then_some(asking)))?;
        let path = path.display().to_string();
        let process = Process::program(&program, &["-c", &path, "-g", "daemon off;"], Place::Measured)?;
        if answers(plain) {
            return Ok(Some(Nginx { process, plain, asking: with_asking.then_some(asking) }));
        }
    }
    Err(format!("nginx is installed and does not start; see {}/nginx.log", directory.display()).into())
}

fn installed() -> Option<PathBuf> {
    let usual = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx", "/usr/local/bin/nginx"];
    usual.into_iter().map(PathBuf::from).find(|path| path.exists())
}

fn free() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn answers(address: SocketAddr) -> bool {
    (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        TcpStream::connect(address).is_ok()
    })
}

fn configuration(
    directory: &Path,
    upstream: SocketAddr,
    plain: SocketAddr,
    asking: Option<SocketAddr>,
) -> String {
    let directory = directory.display();
    let pass = "proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection \"\";";
    let asking = asking.map_or_else(String::new, |address| {
        format!(
            "server {{ listen {address} backlog=4096; keepalive_requests 1000000000;
               location / {{ auth_request /ask; proxy_set_header X-Api-Key 0123456789abcdef; {pass} }}
               location = /ask {{ internal; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; {pass} }} }}"
        )
    });
    format!(
        "worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
         events {{ worker_connections 8192; }}
         http {{ access_log off; keepalive_timeout 1h;
           client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
           fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
           upstream service {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}
           server {{ listen {plain} backlog=4096; keepalive_requests 1000000000; location / {{ {pass} }} }}
           {asking} }}"
    )
}
