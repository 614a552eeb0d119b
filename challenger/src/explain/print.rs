//! How an explanation is printed for people.

use std::fmt;

use bitsect_bridge::chain::End;

use super::{AtTransaction, Check, Explanation, RunFacts, UnitFacts, Verdict, Work};

/// Says how a run ended.
pub(super) fn end(end: End) -> String {
    match end {
        End::Halted { exit_code } => format!("halted, exit code {exit_code}"),
        End::Trapped(trap) => format!("trapped: {trap:?} (status {})", trap as u32),
        End::Missing(missing) => missing.to_string(),
        End::Unfinished => "did not end".to_owned(),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Right => writeln!(f, "right: every published state is true")?,
            Verdict::NotDerived { have, need } => {
                writeln!(
                    f,
                    "not known yet: Bitcoin has {have} units, the claim needs {need}"
                )?;
            }
            Verdict::Ahead { have, need, height } => {
                writeln!(
                    f,
                    "wrong: it is about {need} units, in block {height}, and Bitcoin has {have} now"
                )?;
            }
            Verdict::NotRepeated { position } => {
                writeln!(
                    f,
                    "wrong: position {position} is behind the end and does not repeat it"
                )?;
            }
            Verdict::Wrong {
                right_until,
                wrong_from,
                claimed,
                expected,
            } => {
                writeln!(f, "wrong: the state after {wrong_from} units is not true")?;
                writeln!(f, "claimed  {claimed}")?;
                match expected {
                    Some(expected) => writeln!(f, "true     {expected}")?,
                    None => writeln!(f, "true     none: the claim's check does not hold")?,
                }
                if wrong_from - right_until > 1 {
                    writeln!(
                        f,
                        "between  positions {right_until} and {wrong_from}: more states would name the unit"
                    )?;
                }
            }
        }
        match &self.unit {
            Some(unit) => unit.fmt(f),
            None => Ok(()),
        }
    }
}

impl fmt::Display for UnitFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unit     {}: ", self.unit)?;
        match &self.work {
            Work::L1Block { height, hash } => writeln!(f, "reads L1 block {height}, {hash}")?,
            Work::L2Block {
                number,
                hash,
                transactions,
                forced,
            } => {
                let kind = if *forced { "forced " } else { "" };
                writeln!(
                    f,
                    "executes {kind}L2 block {number}, {hash}, {transactions} transactions"
                )?;
            }
            Work::DroppedBatch { commit, reason } => writeln!(f, "gives up batch {commit}: {reason}")?,
            Work::Check { ticket, check } => writeln!(f, "is the claim's check: ticket {ticket} {check}")?,
        }
        if let Some(differs) = &self.difference {
            let name = differs
                .transaction
                .map_or_else(|| "none".to_owned(), |hash| hash.to_string());
            writeln!(f, "first wrong transaction  {}: {name}", differs.index)?;
            writeln!(f, "claimed  {} {}", differs.field, differs.claimed)?;
            writeln!(f, "true     {} {}", differs.field, differs.expected)?;
        }
        match &self.run {
            Some(run) => run.fmt(f),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => write!(f, "has an assignment that is old enough"),
            Self::Unassigned => write!(f, "has no assignment"),
            Self::Immature {
                recorded,
                blocks,
                height,
            } => write!(
                f,
                "has one that is too young: recorded at L1 block {recorded}, it needs {blocks} blocks, and the last is {height}"
            ),
        }
    }
}

impl fmt::Display for RunFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "run      {} steps, {}", self.end_step, self.end)?;
        match self.output {
            Some(output) => writeln!(f, "gives    {output}")?,
            None => writeln!(f, "gives    no next state")?,
        }
        if let Some(part) = self.wrong_input {
            writeln!(f, "input    the published {part} is not the unit's")?;
        }
        let Some(wrong) = &self.wrong else {
            return writeln!(f, "         every published machine state is true");
        };
        let steps = wrong.wrong_from - wrong.right_until;
        if wrong.wrong_from == 0 {
            writeln!(f, "wrong from the first machine state on")?;
        } else if steps == 1 {
            writeln!(f, "wrong step  {}", wrong.right_until)?;
        } else {
            writeln!(
                f,
                "wrong steps  {} to {}",
                wrong.right_until,
                wrong.wrong_from - 1
            )?;
        }
        writeln!(f, "claimed  {}", wrong.claimed)?;
        match wrong.expected {
            Some(expected) => writeln!(f, "true     {expected}")?,
            None => writeln!(f, "true     not known: a preimage is missing")?,
        }
        match (&wrong.first, &wrong.last) {
            (Some(first), Some(last)) if first == last => writeln!(f, "which    {first}"),
            (Some(first), Some(last)) => writeln!(f, "from     {first}\nto       {last}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for AtTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(index) = self.index else {
            return write!(f, "before the first transaction");
        };
        let verb = if self.inside { "in" } else { "after" };
        write!(f, "{verb} transaction {index}")?;
        match self.transaction {
            Some(hash) => write!(f, ": {hash}"),
            None => Ok(()),
        }
    }
}
