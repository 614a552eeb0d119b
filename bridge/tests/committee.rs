//! A set-up as its members do it by the command line: `keygen`, a deployment file, `run`, `status`, `verify`.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use bitsect_bridge::committee::{
    Builder, CommitteeCommand, Deployment, Graph, MemberId, Party, Place, Signing, Tweak,
};
use bitsect_l1::regtest::free_port;
use clap::Parser;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Cli {
    #[arg(long, global = true)]
    deployment: Option<PathBuf>,
    #[arg(long, global = true)]
    key: Option<PathBuf>,
    #[arg(long, global = true)]
    data_dir: Option<PathBuf>,
    #[arg(long, global = true)]
    listen: Option<SocketAddr>,
    #[command(subcommand)]
    command: CommitteeCommand,
}

struct Messages(Vec<[u8; 32]>);

impl Graph for Messages {
    fn signings(&self) -> Vec<Signing> {
        let signing = |(index, message): (usize, &[u8; 32])| Signing {
            label: format!("message {index}"),
            message: *message,
            tweak: if index % 2 == 0 {
                Tweak::Leaf
            } else {
                Tweak::KeyPath(None)
            },
        };
        self.0.iter().enumerate().map(signing).collect()
    }

    fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.0.concat()).as_bytes()
    }
}

/// Each member contributes a hash of its secrets; the messages are hashes of all.
struct Hashes {
    ours: Option<[u8; 32]>,
    count: i64,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(&'static str);

impl Builder for Hashes {
    type Graph = Messages;
    type Error = Refused;

    fn contribution(&self) -> Result<Vec<u8>, Refused> {
        Ok(self.ours.ok_or(Refused("we are no member"))?.to_vec())
    }

    fn verify_contribution(&self, _: MemberId, contribution: &[u8]) -> Result<(), Refused> {
        let whole = contribution.len() == 32;
        whole.then_some(()).ok_or(Refused("not 32 bytes"))
    }

    fn build(&self, contributions: &BTreeMap<MemberId, Vec<u8>>) -> Result<Messages, Refused> {
        let all: Vec<u8> = contributions.values().flatten().copied().collect();
        let message = |index: i64| *blake3::hash(&[&all[..], &index.to_le_bytes()].concat()).as_bytes();
        Ok(Messages((0..self.count).map(message).collect()))
    }
}

async fn make(deployment: Deployment, party: Option<Party>) -> eyre::Result<Hashes> {
    let secrets = |party: Party| party.keys.graph_seed(&deployment.hash().unwrap());
    Ok(Hashes {
        ours: party.map(|party| *blake3::hash(secrets(party).expose()).as_bytes()),
        count: deployment.graph["messages"].as_integer().unwrap(),
    })
}

fn parse(line: &str) -> (CommitteeCommand, Place) {
    let cli = Cli::try_parse_from(["committee"].into_iter().chain(line.split(' '))).unwrap();
    let place = Place {
        deployment: cli.deployment,
        key: cli.key,
        data_dir: cli.data_dir,
        listen: cli.listen,
    };
    (cli.command, place)
}

async fn output(line: &str) -> eyre::Result<String> {
    let mut out = Vec::new();
    let (command, place) = parse(line);
    command
        .run(place, make, &mut out, CancellationToken::new())
        .await?;
    Ok(String::from_utf8(out).unwrap())
}

/// Passes on each line that is written.
struct Lines(mpsc::Sender<String>, Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            self.0.send(String::from_utf8(line).unwrap()).unwrap();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// Makes three members' keys and their deployment file. Returns where they listen.
async fn prepare(dir: &Path) -> Vec<String> {
    let listen = NAMES
        .map(|_| format!("127.0.0.1:{}", free_port().unwrap()))
        .to_vec();
    let mut file = format!(
        "version = 1\nnetwork = \"regtest\"\nchain = \"{}\"\n",
        "07".repeat(32)
    );
    for (name, address) in NAMES.iter().zip(&listen) {
        let role = if *name == "alice" {
            "operator"
        } else {
            "challenger"
        };
        let key = dir.join(format!("{name}.key"));
        let line = format!(
            "keygen --key {} --name {name} --role {role} --url http://{address}",
            key.display()
        );
        let entry = output(&line).await.unwrap();
        let secret = std::fs::read_to_string(&key).unwrap();
        assert!(!entry.contains(secret.trim()));
        // The same again with what is there; and never a new one over it.
        assert_eq!(output(&format!("{line} --show")).await.unwrap(), entry);
        let error = output(&line).await.unwrap_err();
        assert!(format!("{error:#}").contains("key file"), "{error:#}");
        assert_eq!(std::fs::read_to_string(&key).unwrap(), secret);
        file.push_str(&entry);
    }
    file.push_str("[graph]\nmessages = 50\n");
    std::fs::write(dir.join("deployment.toml"), file).unwrap();
    listen
}

#[tokio::test(flavor = "multi_thread")]
async fn members_set_up_by_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let listen = prepare(dir.path()).await;
    let place = |name: &str| dir.path().join(name).display().to_string();
    let file = place("deployment.toml");
    let stop = CancellationToken::new();
    let mut members = Vec::new();
    for (name, address) in NAMES.iter().zip(&listen) {
        let (key, data) = (place(&format!("{name}.key")), place(name));
        let line = format!("run --deployment {file} --key {key} --data-dir {data} --listen {address} --json");
        let (sender, lines) = mpsc::channel();
        let stop = stop.clone();
        let task = tokio::spawn(async move {
            let (command, place) = parse(&line);
            command.run(place, make, &mut Lines(sender, vec![]), stop).await
        });
        members.push((task, lines));
    }
    let mut shown = Vec::new();
    for (_, lines) in &mut members {
        let lines = std::mem::replace(lines, mpsc::channel().1);
        let complete = tokio::task::spawn_blocking(move || {
            let last = lines
                .iter()
                .find(|line| line.contains("\"members_complete\":3"))
                .unwrap();
            // Kept, so that the daemon can go on writing.
            (last, lines)
        });
        shown.push(complete.await.unwrap());
    }
    for (line, _) in &shown {
        let progress: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&progress["signings"], &progress["complete"]),
            (&50.into(), &true.into())
        );
    }
    let status = output(&format!("status --deployment {file} --json"))
        .await
        .unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    for member in status["members"].as_array().unwrap() {
        assert_eq!(member["status"]["progress"]["complete"], true, "{member}");
        assert_eq!(member["status"]["faults"], serde_json::json!([]), "{member}");
    }
    let text = output(&format!("status --deployment {file}")).await.unwrap();
    assert!(
        text.contains("carol (challenger): complete: 50 signatures"),
        "{text}"
    );
    stop.cancel();
    for (task, _) in members {
        task.await.unwrap().unwrap();
    }
    let gone = output(&format!("status --deployment {file}")).await.unwrap();
    assert!(
        gone.contains("bob (challenger): ") && gone.contains("failed"),
        "{gone}"
    );
    for name in NAMES {
        let data = place(name);
        let verified = output(&format!("verify --deployment {file} --data-dir {data}"))
            .await
            .unwrap();
        assert!(verified.starts_with("50 signatures of graph "), "{verified}");
    }
    // Other parameters are another deployment.
    let other = std::fs::read_to_string(&file)
        .unwrap()
        .replace("messages = 50", "messages = 51");
    std::fs::write(&file, other).unwrap();
    let error = output(&format!("verify --deployment {file} --data-dir {}", place("bob"))).await;
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("deployment: expected"), "{error}");
}
