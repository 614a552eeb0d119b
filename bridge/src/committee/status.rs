//! What members tell about themselves and each other.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::board::Board;
use super::client::Client;
use super::fault::{Fault, FaultCause};
use super::{Deployment, DeploymentError, Digest, Envelope, Kind, Member, MemberId};

/// Characters of a text from a member that are shown at most.
const MAX_TEXT: usize = 200;
/// How long one member is asked for its status.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sessions after the set-up that are shown at most.
pub(super) const MAX_SHOWN: usize = 16;

/// How far a member's set-up is. Counts include the member itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Members of the deployment.
    pub members: usize,
    /// Members whose contribution it has.
    pub contributions: usize,
    /// Members that have built the same graph.
    pub graphs: usize,
    /// The counter of its nonces: how many rounds it has begun since its store was made.
    pub round: u64,
    /// Members whose nonces it has.
    pub nonces: usize,
    /// Members that would sign with the same nonces.
    pub ready: usize,
    /// Members whose partial signatures it has verified, in the session that it has signed.
    pub partials: usize,
    /// Signatures that the graph needs; zero before it is built.
    pub signings: usize,
    /// Whether all signatures are verified and stored.
    pub complete: bool,
    /// Members that say that they are complete.
    pub members_complete: usize,
    /// Why no graph can be built of the contributions.
    pub blocked: Option<String>,
    /// What the set-up took, once it is complete.
    pub summary: Option<Summary>,
}

/// What a set-up took one member, since its daemon was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Milliseconds from start to completion.
    pub milliseconds: u64,
    /// Signatures that are stored.
    pub signatures: usize,
    /// Rounds of nonces that were begun.
    pub rounds: u64,
    /// Bytes served to others until completion, without HTTP headers.
    pub bytes_sent: u64,
    /// Bytes read from others until completion, without HTTP headers.
    pub bytes_received: u64,
}

/// A fault that a member has seen and that still stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultReport {
    /// The name of the member at fault.
    pub member: String,
    /// Which kind of message it is about.
    pub kind: Kind,
    /// What is wrong.
    pub what: String,
}

/// One list that a member wants signed after the set-up. Counts include the member itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionReport {
    /// What it is for.
    pub name: String,
    /// The plan's hash, which members that want the same have in common.
    pub plan: Digest,
    /// Signatures that it needs.
    pub signings: usize,
    /// The names of members that did not want it when they were read last.
    pub missing: Vec<String>,
    /// Members whose nonces it has.
    pub nonces: usize,
    /// Members that would sign with the same nonces.
    pub ready: usize,
    /// Members whose partial signatures it has verified, in the session that it has signed.
    pub partials: usize,
}

/// What a member wants signed after the set-up, and what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionsReport {
    /// Lists whose signatures it has stored.
    pub signed: u64,
    /// Lists that it wants signed.
    pub pending: usize,
    /// Those of them that it has wanted longest, 16 at most.
    pub oldest: Vec<SessionReport>,
}

/// The payload of a status message, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberStatus {
    /// A random number of the process: another one means that the daemon has restarted.
    pub process: Digest,
    /// The payload hash of each message that it has published.
    pub published: BTreeMap<Kind, Digest>,
    /// How far it is.
    pub progress: Progress,
    /// What it finds wrong with others.
    pub faults: Vec<FaultReport>,
    /// Of sessions after the set-up, where its daemon signs any.
    pub sessions: Option<SessionsReport>,
}

impl MemberStatus {
    /// Reads a status. Text in it is cut and made harmless, since it comes to a terminal.
    pub(super) fn decode(bytes: &[u8], members: usize) -> Result<Self, FaultCause> {
        let refused = |reason: String| FaultCause::Status {
            reason: harmless(&reason),
        };
        let mut status: Self = serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
        let most = members * Kind::ALL.len();
        if status.faults.len() > most {
            let got = status.faults.len();
            return Err(refused(format!("faults: expected at most {most}, got {got}")));
        }
        for session in status
            .sessions
            .iter_mut()
            .flat_map(|sessions| &mut sessions.oldest)
        {
            session.name = harmless(&session.name);
            if session.missing.len() > members {
                let got = session.missing.len();
                return Err(refused(format!("missing: expected at most {members}, got {got}")));
            }
            for name in &mut session.missing {
                *name = harmless(name);
            }
        }
        for fault in &mut status.faults {
            fault.member = harmless(&fault.member);
            fault.what = harmless(&fault.what);
        }
        if let Some(blocked) = &mut status.progress.blocked {
            *blocked = harmless(blocked);
        }
        Ok(status)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names, numbers and texts are JSON")
    }
}

/// Leaves of a text what can be shown: printable ASCII, not too long.
pub(super) fn harmless(text: &str) -> String {
    let printable = |letter: char| {
        if (' '..='~').contains(&letter) {
            letter
        } else {
            '?'
        }
    };
    text.chars().take(MAX_TEXT).map(printable).collect()
}

/// What one member answers.
#[derive(Clone, Debug, Serialize)]
pub struct MemberReport {
    /// Who.
    pub member: Member,
    /// Its status, when it could be read and is its own.
    pub status: Option<MemberStatus>,
    /// Why it could not.
    pub error: Option<String>,
}

/// Asks every member of a deployment for its status, all at once.
///
/// # Errors
/// [`DeploymentError`] when the deployment cannot be. What a member answers is never an error.
pub async fn query(deployment: &Deployment) -> Result<Vec<MemberReport>, DeploymentError> {
    let hash = deployment.hash()?;
    let client = Client::new(std::sync::Arc::new(Board::new()));
    let mut asked = JoinSet::new();
    for id in deployment.ids() {
        let (client, deployment) = (client.clone(), deployment.clone());
        asked.spawn(async move { (id, ask(&client, &deployment, &hash, id).await) });
    }
    let mut answers: Vec<_> = asked.join_all().await;
    answers.sort_by_key(|(id, _)| *id);
    let report = |(id, answer): (MemberId, Result<MemberStatus, String>)| {
        let member = deployment.member(id).clone();
        let (status, error) = match answer {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error)),
        };
        MemberReport {
            member,
            status,
            error,
        }
    };
    Ok(answers.into_iter().map(report).collect())
}

async fn ask(
    client: &Client,
    deployment: &Deployment,
    hash: &Digest,
    id: MemberId,
) -> Result<MemberStatus, String> {
    let asked = read_status(client, deployment, hash, id, None);
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok((_, status))) => Ok(status),
        Ok(Err(fault)) => Err(harmless(&fault.cause.to_string())),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Reads a member's status, and waits for one whose hash is not `after`.
pub(super) async fn read_status(
    client: &Client,
    deployment: &Deployment,
    hash: &Digest,
    member: MemberId,
    after: Option<&Digest>,
) -> Result<(Digest, MemberStatus), Fault> {
    let read = async {
        let url = &deployment.member(member).url;
        let bytes = client
            .fetch(url, Kind::Status, after, Kind::Status.limit())
            .await?;
        let envelope = Envelope::open(&bytes, Kind::Status, deployment, hash, member)?;
        let status = MemberStatus::decode(&envelope.payload, deployment.members.len())?;
        Ok((envelope.payload_hash(), status))
    };
    read.await.map_err(|cause| Fault {
        member,
        kind: Kind::Status,
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_members_is_made_harmless() {
        let status = MemberStatus {
            process: Digest([2; 32]),
            published: BTreeMap::from([(Kind::Graph, Digest([1; 32]))]),
            progress: Progress {
                blocked: Some("\u{1b}[2J".repeat(100)),
                ..Progress::default()
            },
            faults: vec![FaultReport {
                member: "bob\n".into(),
                kind: Kind::Nonces,
                what: "x\u{202e}y".into(),
            }],
            sessions: Some(SessionsReport {
                oldest: vec![SessionReport {
                    name: "accept\n".into(),
                    plan: Digest([3; 32]),
                    signings: 1,
                    missing: vec!["bob\r".into()],
                    nonces: 0,
                    ready: 0,
                    partials: 0,
                }],
                ..SessionsReport::default()
            }),
        };
        let read = MemberStatus::decode(&status.encode(), 3).unwrap();
        assert_eq!(read.published, status.published);
        assert_eq!(read.faults[0].member, "bob?");
        assert_eq!(read.faults[0].what, "x?y");
        let session = &read.sessions.unwrap().oldest[0];
        assert_eq!((&*session.name, &*session.missing[0]), ("accept?", "bob?"));
        let blocked = read.progress.blocked.unwrap();
        assert!(blocked.starts_with("?[2J") && blocked.len() == MAX_TEXT);
    }

    #[test]
    fn a_status_that_is_none_is_refused() {
        let fault = FaultReport {
            member: "bob".into(),
            kind: Kind::Nonces,
            what: String::new(),
        };
        let status = MemberStatus {
            process: Digest([2; 32]),
            published: BTreeMap::new(),
            progress: Progress::default(),
            faults: vec![fault; 25],
            sessions: None,
        };
        assert!(MemberStatus::decode(&status.encode(), 4).is_ok());
        assert!(MemberStatus::decode(&status.encode(), 3).is_err());
        let text = String::from_utf8(status.encode()).unwrap();
        let unknown = text.replacen("published", "\u{7}", 1);
        let error = MemberStatus::decode(unknown.as_bytes(), 4)
            .unwrap_err()
            .to_string();
        assert!(error.is_ascii() && !error.contains('\u{7}'), "{error}");
        assert!(MemberStatus::decode(b"", 3).is_err());
    }
}
