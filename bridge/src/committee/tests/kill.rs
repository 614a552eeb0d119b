//! Members as processes that are killed with SIGKILL, at each message that they publish and at random.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rand::Rng;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::harness::keys;
use crate::committee::{Deployment, Kind, Progress, RunOptions, run};

const MEMBER: &str = "BITSECT_TEST_MEMBER";
const FOLDER: &str = "BITSECT_TEST_FOLDER";
const FILE: &str = "BITSECT_TEST_DEPLOYMENT";

/// What a child process runs; by itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other tests as a process of its own"]
async fn child() {
    let Some(Given {
        member,
        options,
        listener,
    }) = given().await
    else {
        return;
    };
    let builder = super::cluster::builder(member, 40, 10_000);
    let progress = watch::Sender::new(Progress::default());
    run(options, builder, listener, progress, CancellationToken::new())
        .await
        .unwrap();
}

/// Members as processes, each of which runs a test that is a member.
pub(super) struct Processes {
    pub cluster: Cluster,
    child: &'static str,
    file: PathBuf,
    children: Vec<Option<Child>>,
}

/// Who a process is, told by its parent.
pub(super) struct Given {
    pub member: u8,
    pub options: RunOptions,
    pub listener: TcpListener,
}

/// Takes what the parent has told, and tells the port; nothing when there is no parent.
pub(super) async fn given() -> Option<Given> {
    let member: u8 = std::env::var(MEMBER).ok()?.parse().unwrap();
    let path = PathBuf::from(std::env::var_os(FILE).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Alone on its line, whatever the test harness has written before.
    println!("\nport {}", listener.local_addr().unwrap().port());
    let options = RunOptions {
        deployment: Deployment::read(&path).unwrap(),
        keys: keys(member),
        data_dir: PathBuf::from(std::env::var_os(FOLDER).unwrap()),
    };
    Some(Given {
        member,
        options,
        listener,
    })
}

impl Processes {
    async fn new() -> Self {
        let cluster = Cluster::new(3, 40, 10_000).await;
        Self::of(cluster, "committee::tests::kill::child").await
    }

    /// Starts the members of a cluster as processes that run a test.
    pub(super) async fn of(cluster: Cluster, child: &'static str) -> Self {
        let file = cluster.dirs[0].path().join("deployment.toml");
        std::fs::write(&file, cluster.deployment.to_toml().unwrap()).unwrap();
        let mut processes = Self {
            cluster,
            child,
            file,
            children: (0..3).map(|_| None).collect(),
        };
        for member in 0..3 {
            processes.start(member).await;
        }
        processes
    }

    pub(super) async fn start(&mut self, member: usize) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", self.child])
            .env(MEMBER, member.to_string())
            .env(FOLDER, self.cluster.dirs[member].path())
            .env(FILE, &self.file)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port: u16 = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("the child tells its port");
            if let Some(port) = line.strip_prefix("port ") {
                break port.parse().unwrap();
            }
        };
        // Whatever it still writes must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.cluster.gates[member].aim(Some(([127, 0, 0, 1], port).into()));
        self.children[member] = Some(child);
    }

    pub(super) async fn kill(&mut self, member: usize) {
        let mut child = self.children[member].take().unwrap();
        child.kill().await.unwrap();
        self.cluster.gates[member].aim(None);
    }

    async fn finish(mut self) {
        self.cluster.until_complete().await;
        for member in 0..3 {
            self.kill(member).await;
        }
        self.cluster.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_each_message_finishes() {
    for kind in [
        Kind::Contribution,
        Kind::Graph,
        Kind::Nonces,
        Kind::Ready,
        Kind::Partials,
        Kind::Signatures,
    ] {
        let mut processes = Processes::new().await;
        let gate = processes.cluster.gates[1].clone();
        let done = processes.cluster.until_complete();
        tokio::select! {
            // Nobody needs to read the signatures of somebody when all are complete at once.
            () = done => {}
            () = gate.until_served(kind, 1) => {}
        }
        processes.kill(1).await;
        println!("killed at {kind:?}");
        processes.start(1).await;
        processes.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_killed_at_random_finish() {
    let mut processes = Processes::new().await;
    // Late members must sign again, so that every kill is in the middle of something.
    processes.cluster.hold_all(&[Kind::Signatures]);
    for _ in 0..20 {
        let (member, wait) = (rand::rng().random_range(0..3), rand::rng().random_range(0..300));
        tokio::time::sleep(Duration::from_millis(wait)).await;
        processes.kill(member).await;
        processes.start(member).await;
    }
    processes.cluster.hold_all(&[]);
    processes.finish().await;
}
