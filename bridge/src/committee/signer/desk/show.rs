//! What a desk publishes of itself: its list, and a status that says how far it is.

use std::collections::BTreeMap;

use super::{Desk, NO_SESSION, Pending};
use crate::committee::list::{List, encode_list};
use crate::committee::message::payload_hash;
use crate::committee::status::MAX_SHOWN;
use crate::committee::{
    Digest, FaultReport, Kind, MemberId, MemberStatus, Progress, SessionReport, SessionsReport,
};

impl Desk {
    /// Publishes what is new: the list, and the status that names it.
    pub(super) fn tell(&mut self) {
        let mut messages = Vec::new();
        let ours = self.pending.iter().map(|(plan, pending)| (*plan, pending.entry));
        let list: List = ours
            .chain(self.kept.iter().map(|(plan, entry)| (*plan, *entry)))
            .collect();
        let payload = encode_list(&list);
        let hash = payload_hash(&payload);
        if self.listed != Some(hash) {
            self.listed = Some(hash);
            messages.push(self.identity.sign(Kind::Sessions, NO_SESSION, payload));
        }
        let mut published = self.setup_published.clone();
        published.insert(Kind::Sessions, hash);
        let status = MemberStatus {
            process: self.process,
            published,
            progress: self.progress(),
            faults: self.reports(),
            sessions: Some(self.sessions()),
        };
        let payload = status.encode();
        if self.told.as_ref() == Some(&payload) {
            return;
        }
        self.told = Some(payload.clone());
        messages.push(self.identity.sign(Kind::Status, NO_SESSION, payload));
        self.board.post(messages);
    }

    fn progress(&self) -> Progress {
        let members = self.identity.deployment.members.len();
        let complete = 1 + self.peers.values().filter(|peer| peer.complete).count();
        Progress {
            members,
            contributions: members,
            graphs: complete,
            signings: self.setup_signings,
            complete: true,
            members_complete: complete,
            ..Progress::default()
        }
    }

    /// Returns the faults that stand, one for each member and kind.
    fn reports(&self) -> Vec<FaultReport> {
        let mut found: BTreeMap<(MemberId, Kind), (&str, &str, usize)> = BTreeMap::new();
        for (place, what) in &self.faults {
            found.insert(*place, ("", what, 0));
        }
        for pending in self.pending.values() {
            for (place, what) in &pending.faults {
                found.entry(*place).or_insert((pending.joint.name(), what, 0)).2 += 1;
            }
        }
        let report =
            |((member, kind), (of, what, count)): ((MemberId, Kind), (&str, &str, usize))| FaultReport {
                member: self.identity.deployment.member(member).name.clone(),
                kind,
                what: match count {
                    0 => what.to_owned(),
                    1 => format!("{of}: {what}"),
                    _ => format!("{of} and {} more: {what}", count - 1),
                },
            };
        found.into_iter().map(report).collect()
    }

    /// Shows what has been asked for longest.
    fn sessions(&self) -> SessionsReport {
        let mut oldest: Vec<_> = self.pending.iter().collect();
        oldest.sort_by_key(|(_, pending)| pending.number);
        let deployment = &self.identity.deployment;
        let show = |(plan, pending): (&Digest, &Pending)| {
            let missing = self
                .peers
                .iter()
                .filter(|(_, peer)| !peer.list.contains_key(plan));
            let counts = pending.joint.counts();
            SessionReport {
                name: pending.joint.name().to_owned(),
                plan: *plan,
                signings: pending.joint.plan().len(),
                missing: missing
                    .map(|(id, _)| deployment.member(*id).name.clone())
                    .collect(),
                nonces: counts.nonces,
                ready: counts.ready,
                partials: counts.partials,
            }
        };
        SessionsReport {
            signed: self.signed,
            pending: self.pending.len(),
            oldest: oldest.into_iter().take(MAX_SHOWN).map(show).collect(),
        }
    }
}
