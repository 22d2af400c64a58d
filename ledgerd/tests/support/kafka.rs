//! A real Kafka broker for tests of the whole, with the topics of a book and without a journal.

use std::path::PathBuf;
use std::process::{Command, Output};

use super::root;

/// A broker, killed when dropped.
pub struct Kafka {
    folder: tempfile::TempDir,
    port: u16,
    controller: u16,
    pub url: String,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Kafka {
    pub fn start() -> Self {
        let (port, controller) = (free_port(), free_port());
        let url = format!("kafka://127.0.0.1:{port}/bank");
        let kafka = Self { folder: tempfile::tempdir().unwrap(), port, controller, url };
        kafka.restart();
        let done = kafka.migrate(&kafka.url, &["--allow-unsafe-server"]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        kafka
    }

    pub fn migrate(&self, url: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ledgerd")).args(["migrate", "--journal", url]).args(more).output().unwrap()
    }

    pub fn url_of(&self, prefix: &str) -> String {
        format!("kafka://127.0.0.1:{}/{prefix}", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("kafka")
    }

    pub fn restart(&self) {
        let done = Command::new(root().join("deploy/kafka.sh"))
            .arg("start")
            .arg(self.data())
            .arg(self.port.to_string())
            .env("CONTROLLER_PORT", self.controller.to_string())
            .output()
            .unwrap();
        assert!(done.status.success(), "kafka.sh start: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Kills it as a crash would.
    pub fn kill(&self) {
        let status = Command::new(root().join("deploy/kafka.sh")).arg("kill").arg(self.data()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = Command::new(root().join("deploy/kafka.sh")).arg("kill").arg(self.data()).status();
    }
}
