//! A real PostgreSQL server for tests of the whole, with tables and without a journal.

use std::path::PathBuf;
use std::process::Command;

use super::root;

/// A server, killed when dropped.
pub struct Postgres {
    data: PathBuf,
    /// Deleted with it.
    folder: Option<tempfile::TempDir>,
    options: &'static str,
    port: u16,
    pub url: String,
}

impl Postgres {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server's user must be able to get there.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let data = folder.path().join("postgres");
        let mut postgres = Self::start_in(data, "");
        postgres.folder = Some(folder);
        postgres
    }

    /// In a folder that its user can get to, with more options for the server.
    pub fn start_in(data: PathBuf, options: &'static str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("postgres://doppia:doppia@127.0.0.1:{port}/doppia");
        let postgres = Self { data, folder: None, options, port, url };
        postgres.restart();
        let done = Command::new(env!("CARGO_BIN_EXE_ledgerd")).args(["migrate", "--journal", &postgres.url]).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        postgres
    }

    pub fn restart(&self) {
        let done = Command::new(root().join("deploy/postgres.sh"))
            .arg("start")
            .arg(&self.data)
            .arg(self.port.to_string())
            .env("POSTGRES_OPTIONS", self.options)
            .output()
            .unwrap();
        assert!(done.status.success(), "postgres.sh start: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Kills it as a crash would.
    pub fn kill(&self) {
        let status = Command::new(root().join("deploy/postgres.sh")).arg("kill").arg(&self.data).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = Command::new(root().join("deploy/postgres.sh")).arg("kill").arg(&self.data).status();
    }
}
