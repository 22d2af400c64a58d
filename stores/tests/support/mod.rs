//! Real servers for tests, PostgreSQL and Kafka, with data that goes with them, and wires that can be cut.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

#[cfg(feature = "kafka")]
pub mod kafka;
pub mod mixed;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// A server, stopped when dropped.
pub struct Server {
    folder: tempfile::TempDir,
    pub port: u16,
}

/// One server for the tests of this file that do it no harm: it ends with the last test that has it.
pub fn server() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres.sh").canonicalize().unwrap()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With more options for the server, such as `-c fsync=off`.
    pub fn start_with(options: &str) -> Self {
        let server = Self { folder: tempfile::tempdir().unwrap(), port: free_port() };
        // The server's user must be able to get there.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(server.folder.path(), open).unwrap();
        server.act(&["start"], options);
        server
    }

    fn act(&self, act: &[&str], options: &str) {
        let done = Command::new(script())
            .arg(act[0])
            .arg(self.folder.path().join("postgres"))
            .arg(self.port.to_string())
            .env("POSTGRES_OPTIONS", options)
            .output()
            .unwrap();
        assert!(done.status.success(), "postgres.sh {act:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Kills it as a crash would.
    pub fn kill(&self) {
        self.act(&["kill"], "");
    }

    pub fn restart(&self) {
        self.act(&["start"], "");
    }

    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// Runs SQL as the owner and gives what it prints.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let done = Command::new("psql")
            .args(["-v", "ON_ERROR_STOP=1", "-qAt", "-c", sql, &self.url(database)])
            .output()
            .unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// An empty database.
    pub fn database(&self, name: &str) -> String {
        self.sql("doppia", &format!("CREATE DATABASE {name}"));
        self.url(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("kill").arg(self.folder.path().join("postgres")).status();
    }
}

pub fn url(port: u16, database: &str) -> String {
    format!("postgres://doppia:doppia@127.0.0.1:{port}/{database}")
}

/// What a wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Carries bytes both ways.
    Whole = 0,
    /// Carries what the client says, and loses every answer; a moment later it breaks.
    AnswersLost = 1,
    /// Breaks at the first byte that the client says.
    Cut = 2,
}

/// A wire to a server that can be told to break.
pub struct Proxy {
    pub port: u16,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mode = Arc::new(AtomicU8::new(0));
        let proxy = Self { port: listener.local_addr().unwrap().port(), mode: Arc::clone(&mode) };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let says = Arc::clone(&mode);
                std::thread::spawn(move || carry(from, to, &says, true));
                let answers = Arc::clone(&mode);
                std::thread::spawn(move || carry(server, client, &answers, false));
            }
        });
        proxy
    }

    /// From the next bytes on. What breaks is whole again for the next connection if `Whole` is set by then.
    pub fn set(&self, wire: Wire) {
        self.mode.store(wire as u8, Ordering::SeqCst);
    }

    /// Breaks once, and mends itself: the connection that is open is lost, the next one is whole.
    fn mend(mode: &AtomicU8) {
        mode.store(Wire::Whole as u8, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU8, from_client: bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        let mode_now = mode.load(Ordering::SeqCst);
        if count == 0 || (mode_now == Wire::Cut as u8 && from_client) {
            if count > 0 {
                Proxy::mend(mode);
            }
            break;
        }
        if mode_now == Wire::AnswersLost as u8 && !from_client {
            // The server has done it by now; let whatever else it says go the same way.
            std::thread::sleep(Duration::from_millis(50));
            Proxy::mend(mode);
            break;
        }
        if to.write_all(buffer.get(..count).unwrap()).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
