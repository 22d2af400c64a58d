//! A `ledgerd` of one's own: started on a free port in a fresh folder, killed at the end.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::connection::Connection;
use crate::ReadModels;

/// How long it may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. It is killed when this is dropped, however the measurement ends.
pub(super) struct Server {
    child: Child,
    /// Writer and projector, if they are processes of their own.
    others: Vec<Child>,
    data: PathBuf,
    pub(super) port: u16,
    pub(super) key: String,
    pub(super) read_models: ReadModels,
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in std::iter::once(&mut self.child).chain(&mut self.others) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    /// Starts one and waits until it answers and has written its first key.
    pub(super) async fn start(
        ledgerd: &Path,
        data: &Path,
        read_models: ReadModels,
        gateway: bool,
    ) -> anyhow::Result<Self> {
        ensure!(
            ledgerd.is_file(),
            "there is no {}: build it with `cargo build --release -p ledgerd`, or name one by --ledgerd",
            ledgerd.display()
        );
        let port = free_port()?;
        let models = ["--read-models", read_models.name()];
        let (mut others, mut more) = (Vec::new(), models.map(str::to_owned).to_vec());
        if gateway {
            let writer = format!("127.0.0.1:{}", free_port()?);
            others.push(spawn(ledgerd, data, 0, &["--roles", "writer", "--grpc-listen", &writer])?);
            let until = Instant::now() + PATIENCE;
            while !data.join("admin.key").exists() {
                ensure!(Instant::now() < until, "the writer did not come up within {} s", PATIENCE.as_secs());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            if read_models == ReadModels::Postgres {
                let more = [&["--roles", "projector"][..], &models].concat();
                others.push(spawn(ledgerd, &data.with_extension("projector"), 0, &more)?);
            }
            more.extend(["--roles", "api", "--writers", &format!("http://{writer}")].map(str::to_owned));
        }
        let folder = if gateway { data.with_extension("gateway") } else { data.to_owned() };
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let child = spawn(ledgerd, &folder, port, &more)?;
        let mut server = Self { child, others, data: data.to_owned(), port, key: String::new(), read_models };
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok(mut connection) = Connection::open(port).await
                && connection.get("/livez").await.is_ok_and(|status| status == 200)
            {
                if gateway {
                    // Until it has found its writer and knows the key.
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                std::fs::read_to_string(data.join("admin.key"))?.trim().clone_into(&mut server.key);
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("ledgerd ended at once ({status})");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("ledgerd did not come up within {} s", PATIENCE.as_secs())
    }

    /// The folder of the journal.
    pub(super) fn journal(&self) -> PathBuf {
        stores::embedded::journal_folder(&self.data)
    }
}

/// Starts a process, whose errors are shown. Of a cluster, each has the same secret.
fn spawn(ledgerd: &Path, data: &Path, port: u16, more: &[&str]) -> anyhow::Result<Child> {
    let mut command = Command::new(ledgerd);
    command.arg("serve").arg("--data").arg(data).arg("--listen").arg(format!("127.0.0.1:{port}")).args(more);
    command.env("DOPPIA_CLUSTER_SECRET", "a secret of processes that measure something");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {}", ledgerd.display()))?;
    if let Some(stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("ERROR") {
                    eprintln!("ledgerd: {line}");
                }
            }
        });
    }
    Ok(child)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
