//! A journal on a broker that lets nobody in without TLS and a password: the URL says how, and what does not fit ends with a word.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::kafka::{Kafka, free_port};
use support::{Client, Server, replay};

/// Makes a key and the certificate that it signed itself, for loopback.
fn certificate(folder: &Path, name: &str) -> String {
    let (store, pem) = (folder.join(format!("{name}.p12")), folder.join(format!("{name}.pem")));
    let keytool = |arguments: &[&str]| {
        let mut command = Command::new("keytool");
        command.args(arguments).args(["-alias", "broker", "-storepass", "changeit", "-keystore"]).arg(&store);
        let done = command.output().unwrap();
        assert!(done.status.success(), "keytool: {}", String::from_utf8_lossy(&done.stdout));
    };
    keytool(&["-genkeypair", "-keyalg", "EC", "-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-validity", "2"]);
    keytool(&["-exportcert", "-rfc", "-file", pem.to_str().unwrap()]);
    pem.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_a_password_let_a_journal_in() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, other_ca) = (certificate(folder.path(), "broker"), certificate(folder.path(), "other"));
    let secured = free_port();
    let kafka = Kafka::start_in(folder.path().join("kafka"), |port, controller| {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let store = folder.path().join("broker.p12");
        format!(
            "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SASL_SSL://127.0.0.1:{secured}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secured}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL\n\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config={module} required user_ada=\"s3:cret\";\n\
             ssl.keystore.type=PKCS12\nssl.keystore.password=changeit\nssl.keystore.location={}",
            store.display()
        )
    });
    let url = |login: &str, settings: &str| format!("kafka+ssl://{login}127.0.0.1:{secured}/bank{settings}");
    let good = url("ada:s3%3Acret@", &format!("?ssl.ca.location={ca}"));

    // From the making of the topics to the proof of what is there.
    let made = Kafka::migrate(&good, &["--allow-unsafe-server"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let data = folder.path().join("data");
    let server = Server::try_start(&data, 0, &["--journal", &good, "--allow-unsafe-server"])
        .unwrap_or_else(|log| panic!("ledgerd did not come up:\n{log}"));
    let client = Client::admin(&server.url, &data);
    let account = json!({ "code": "ada", "kind": "liability", "currency": "EUR" });
    client.done("accounts", "open", account).await;
    client.done("top-ups", "first", json!({ "account": "ada", "amount": "12.34", "currency": "EUR" })).await;
    assert_eq!(client.balance("ada").await, "12.34");
    let log = server.log.lock().unwrap().join("\n");
    assert!(server.terminate().success());
    assert!(!log.contains("s3:cret") && !log.contains("s3%3Acret"), "a password in the log:\n{log}");
    replay(&data, &["--journal", &good, "verify"]);
    // It is the journal that those inside see, too.
    replay(&data, &["--journal", &kafka.url, "verify"]);

    for (url, text) in [
        (url("ada:wr0ng@", &format!("?ssl.ca.location={ca}")), "refuses"),
        (url("", &format!("?ssl.ca.location={ca}")), "can't be"),
        (url("ada:s3%3Acret@", &format!("?ssl.ca.location={other_ca}")), "certificate"),
        (url("ada:s3%3Acret@", ""), "certificate"),
        (url("ada:s3%3Acret@", "?ssl.ca.location=/nowhere/ca.pem"), "ssl.ca.location failed"),
        (format!("kafka+ssl://ada:s3%3Acret@{}/bank?ssl.ca.location={ca}", kafka.brokers()), "SSL"),
    ] {
        let refused = Kafka::migrate(&url, &["--allow-unsafe-server"]);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{url}: {told}");
        assert!(told.contains(text), "{url}: {told}");
        assert!(!told.contains("cret@") && !told.contains("s3:cret") && !told.contains("wr0ng"), "a password: {told}");
    }
}
