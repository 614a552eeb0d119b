//! A committee of an operator and a challenger on one machine: their keys, money, set-up and daemons, by the programs that
//! members run. Everything is below one folder, with a configuration file for each program.

mod config;
mod member;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use alloy_primitives::B256;
use bitcoin::{Address, Amount, Network, TxOut};
use bitsect_l1::regtest::die_with_parent;
use eyre::{OptionExt, WrapErr, bail};
use tokio::io::{AsyncBufReadExt, BufReader};

use self::config::local;
use self::member::{Ports, port_of, ports};
use super::program::{Running, ask_to_end, find_program, output};

pub use self::config::Links;
pub use self::member::{Member, Role};

/// What operators claim at least, in sats, where nothing else is said.
const LEAST_CLAIM: u32 = 10_000;

/// What a slot starts behind, and what the deployment says beside it.
#[derive(Clone, Debug)]
pub struct Terms {
    /// An L1 block before the members' first outputs.
    pub start_height: u32,
    /// The unit that slots start behind, and the chain state there.
    pub start: (u64, B256),
    /// How many slots each operator has.
    pub slots: u32,
    /// More options of `bitsect-bridge deployment`.
    pub options: Vec<String>,
}

/// The committee's files and programs.
#[derive(Clone, Debug)]
pub struct Committee {
    folder: PathBuf,
    members: Vec<(Member, Ports)>,
    /// The smallest vault output that operators claim, in sats.
    pub least_claim_sats: u32,
}

impl Committee {
    /// Makes the members' keys in a folder, or reads them. They listen on two ports each, from `first_port` on, or on free
    /// ones where it is 0; where they sign is kept with the keys.
    ///
    /// # Errors
    /// Where a program or a file fails.
    pub fn open(folder: &Path, members: &[Member], first_port: u16) -> eyre::Result<Self> {
        let folder = std::path::absolute(folder).wrap_err("failed to use the folder")?;
        let ports = ports(members.len(), first_port)?;
        let mut committee = Self {
            folder,
            members: members.iter().copied().zip(ports).collect(),
            least_claim_sats: LEAST_CLAIM,
        };
        for place in 0..committee.members.len() {
            let (member, ports) = committee.members[place];
            make_folder(&committee.home(member))?;
            let path = committee.entry(member);
            if !path.exists() {
                write(&path, &committee.keygen(member, ports.committee)?)?;
            }
            committee.members[place].1.committee = port_of(&path)?;
        }
        Ok(committee)
    }

    /// Gives the members in the deployment's order.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.members.iter().map(|(member, _)| *member)
    }

    fn ports(&self, member: Member) -> Ports {
        let found = self.members.iter().find(|(one, _)| *one == member);
        found.expect("the member is of this committee").1
    }

    fn keygen(&self, member: Member, port: u16) -> eyre::Result<String> {
        let mut command = Command::new(find_program("bitsect-bridge")?);
        command.arg("--key").arg(self.key(member));
        let role = match member.role {
            Role::Operator => "operator",
            Role::Challenger => "challenger",
        };
        command.args(["committee", "keygen", "--name", member.name, "--role", role]);
        command.args(["--url", &format!("http://127.0.0.1:{port}")]);
        // The last start may have ended between the key and the entry.
        if self.key(member).exists() {
            command.arg("--show");
        }
        output(command)
    }

    fn home(&self, member: Member) -> PathBuf {
        self.folder.join(member.name)
    }

    fn entry(&self, member: Member) -> PathBuf {
        self.home(member).join("member.toml")
    }

    /// Gives a member's key file.
    pub fn key(&self, member: Member) -> PathBuf {
        self.home(member).join("member.key")
    }

    /// Gives the folder of what a member has signed.
    pub fn data_dir(&self, member: Member) -> PathBuf {
        self.home(member).join("data")
    }

    /// Gives the configuration file of `bitsect-bridge` for a member.
    pub fn config(&self, member: Member) -> PathBuf {
        self.home(member).join("bridge.toml")
    }

    /// Gives the configuration file of `bitsect-challenger` for a member.
    pub fn challenger_config(&self, member: Member) -> PathBuf {
        self.home(member).join("challenger.toml")
    }

    /// Gives the deployment file.
    pub fn deployment(&self) -> PathBuf {
        self.folder.join("deployment.toml")
    }

    /// Gives the program of disputes, with the chain's parameters in it.
    pub fn program(&self) -> PathBuf {
        self.folder.join("program.elf")
    }

    /// Gives the program as it was built. It is kept: the deployment names its hash.
    pub fn guest(&self) -> PathBuf {
        self.folder.join("guest.elf")
    }

    /// Gives where a member shows itself.
    pub fn status_address(&self, member: Member) -> String {
        local(self.ports(member).status)
    }

    /// Gives a member's log file.
    pub fn log(&self, member: Member) -> PathBuf {
        self.home(member).join("log")
    }

    /// Gives the key of all members: the chain file's `vault_key`.
    ///
    /// # Errors
    /// Where the program fails.
    pub fn vault_key(&self) -> eyre::Result<B256> {
        let mut command = Command::new(find_program("bitsect-bridge")?);
        command.arg("vault-key");
        self.name_members(&mut command);
        let key = output(command).wrap_err("failed to make the vault's key")?;
        key.trim().parse().wrap_err("failed to read the vault's key")
    }

    fn name_members(&self, command: &mut Command) {
        for member in self.members() {
            command.arg("--members").arg(self.entry(member));
        }
    }

    /// Gives the configuration file of a user's commands.
    pub fn user_config(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("bridge.toml")
    }

    /// Makes a command of `bitsect-bridge` by a configuration file.
    ///
    /// # Errors
    /// Where the program is not built.
    pub fn bridge(config: &Path) -> eyre::Result<Command> {
        let mut command = Command::new(find_program("bitsect-bridge")?);
        command.arg("--config").arg(config);
        Ok(command)
    }

    /// Makes the output that funds a member.
    ///
    /// # Errors
    /// Where the program fails.
    pub fn funding(&self, member: Member, value: Amount) -> eyre::Result<TxOut> {
        let mut command = Self::bridge(&self.config(member))?;
        command.args(["address", "--network", "regtest"]);
        paying(&output(command)?, value)
    }

    /// Writes the deployment file.
    ///
    /// # Errors
    /// Where the program refuses the terms.
    pub fn deploy(&self, terms: &Terms) -> eyre::Result<()> {
        let (unit, state) = terms.start;
        let operators = self.members().filter(|member| member.role == Role::Operator);
        let operators: Vec<Member> = operators.collect();
        let maker = operators.first().ok_or_eyre("failed to find an operator")?;
        let mut command = Self::bridge(&self.config(*maker))?;
        command.args(["deployment", "--network", "regtest", "--start-height"]);
        command.arg(terms.start_height.to_string());
        for operator in &operators {
            let slot = format!("{operator}:{unit}:{}", hex::encode(state));
            command.args((0..terms.slots).flat_map(|_| ["--slot", slot.as_str()]));
        }
        command.args(&terms.options);
        self.name_members(&mut command);
        let text = output(command).wrap_err("failed to make the deployment")?;
        // Whole or not at all: what is there is what members have agreed on.
        let draft = self.deployment().with_extension("draft");
        write(&draft, &text)?;
        std::fs::rename(&draft, self.deployment()).wrap_err("failed to write the deployment")
    }

    /// Runs the members' set-up until all signatures are there. Somebody has to mine blocks meanwhile.
    ///
    /// # Errors
    /// Where a member ends before.
    pub async fn sign(&self) -> eyre::Result<()> {
        let mut running = Vec::new();
        for member in self.members() {
            let mut command = Self::bridge(&self.config(member))?;
            command.args(["committee", "run", "--json"]);
            command
                .stderr(self.append(member)?)
                .stdout(Stdio::piped())
                .stdin(Stdio::null());
            die_with_parent(&mut command);
            let mut command = tokio::process::Command::from(command);
            let mut child = command
                .kill_on_drop(true)
                .spawn()
                .wrap_err("failed to start a member")?;
            let said = child.stdout.take().expect("the stream is piped");
            running.push((member, child, BufReader::new(said).lines()));
        }
        // All are heard at once, so that none waits for a reader.
        let complete = running.iter_mut().map(|(member, _, lines)| async {
            loop {
                let line = lines.next_line().await.wrap_err("failed to hear a member")?;
                if self.is_complete(line).wrap_err_with(|| self.why(*member))? {
                    return eyre::Ok(());
                }
            }
        });
        futures::future::try_join_all(complete).await?;
        // The folders of members that are killed are whole; asked to, they also tell each other.
        for (member, child, _) in running {
            let mut child = child;
            ask_to_end(child.id())?;
            let ended = child.wait().await.wrap_err("failed to end a member")?;
            if !ended.success() {
                bail!("{}: {ended}", self.why(member));
            }
        }
        Ok(())
    }

    fn is_complete(&self, line: Option<String>) -> eyre::Result<bool> {
        let Some(line) = line else {
            bail!("failed to set up: a member has ended");
        };
        if !line.starts_with('{') {
            return Ok(false);
        }
        let progress: serde_json::Value =
            serde_json::from_str(&line).wrap_err("failed to read a member's progress")?;
        // The others may still want its signatures.
        Ok(progress["members_complete"].as_u64() == Some(self.members.len() as u64))
    }

    fn why(&self, member: Member) -> String {
        format!("the {member} failed: see {}", self.log(member).display())
    }

    fn append(&self, member: Member) -> eyre::Result<Stdio> {
        let path = self.log(member);
        let file = File::options().create(true).append(true).open(&path);
        file.map(Stdio::from)
            .wrap_err_with(|| format!("failed to write {}", path.display()))
    }

    /// Starts a member's daemon.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(&self, member: Member) -> eyre::Result<Running> {
        let mut command = match member.role {
            Role::Operator => {
                let mut command = Self::bridge(&self.config(member))?;
                command.args(["operator", "run"]);
                command
            }
            Role::Challenger => {
                let mut command = Command::new(find_program("bitsect-challenger")?);
                command
                    .arg("run")
                    .arg("--config")
                    .arg(self.challenger_config(member));
                command
            }
        };
        command.stdout(self.append(member)?).stderr(self.append(member)?);
        Running::start(command).wrap_err_with(|| format!("failed to start the {member}"))
    }
}

fn write(path: &Path, text: &str) -> eyre::Result<()> {
    std::fs::write(path, text).wrap_err_with(|| format!("failed to write {}", path.display()))
}

fn read(path: &Path) -> eyre::Result<String> {
    std::fs::read_to_string(path).wrap_err_with(|| format!("failed to read {}", path.display()))
}

fn make_folder(path: &Path) -> eyre::Result<()> {
    std::fs::create_dir_all(path).wrap_err_with(|| format!("failed to make {}", path.display()))
}

/// Makes an output that pays an address of regtest.
///
/// # Errors
/// Where it is no address.
pub fn paying(address: &str, value: Amount) -> eyre::Result<TxOut> {
    let address: Address<bitcoin::address::NetworkUnchecked> =
        address.trim().parse().wrap_err("failed to read an address")?;
    let address = address
        .require_network(Network::Regtest)
        .wrap_err("failed to use an address")?;
    Ok(TxOut {
        value,
        script_pubkey: address.script_pubkey(),
    })
}
