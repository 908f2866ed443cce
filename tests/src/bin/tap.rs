//! A way into the gateway from inside a task, for tests that send bytes which no client would: `tap SOCKET`, started
//! under `accredit run`, copies each connection to its Unix socket to a new connection to the run's proxy, byte by
//! byte, both ways. It ends when its standard input does.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;

fn main() -> ExitCode {
    let socket = std::env::args().nth(1);
    let proxy =
        std::env::var("HTTPS_PROXY").ok().and_then(|url| url.strip_prefix("http://").map(str::to_owned));
    let (Some(socket), Some(proxy)) = (socket, proxy) else {
        let _ = writeln!(std::io::stderr(), "tap: start it under `accredit run`, with the path of a socket");
        return ExitCode::FAILURE;
    };
    let listener = match UnixListener::bind(&socket) {
        Ok(listener) => listener,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tap: {socket}: {error}");
            return ExitCode::FAILURE;
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let proxy = proxy.clone();
            std::thread::spawn(move || join(&stream, &proxy));
        }
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

fn join(inside: &UnixStream, proxy: &str) {
    let Ok(outside) = TcpStream::connect(proxy) else { return };
    let _ = outside.set_nodelay(true);
    let (Ok(from), Ok(to)) = (outside.try_clone(), inside.try_clone()) else { return };
    std::thread::spawn(move || {
        copy(from.try_clone().ok(), &to);
        // Either side has closed: the other sees the end at once.
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
    if let Ok(from) = inside.try_clone() {
        copy(Some(from), &outside);
    }
    // The test has sent all it has, or has gone; what the gateway answers may still come.
    let _ = outside.shutdown(Shutdown::Write);
}

fn copy(from: Option<impl std::io::Read>, mut to: impl std::io::Write) {
    let Some(mut from) = from else { return };
    let mut piece = [0; 16 * 1024];
    while let Ok(bytes) = from.read(&mut piece) {
        if bytes == 0 || to.write_all(&piece[..bytes]).is_err() {
            return;
        }
    }
}
