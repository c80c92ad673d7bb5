//! A node of a cluster that says what it sees: start three, watch them form, kill one, see it removed.
//!
//! ```text
//! cargo run -p annals-cluster --features net --example cluster -- --advertise 127.0.0.1:2551 \
//!     --contact 127.0.0.1:2551 --contact 127.0.0.1:2552 --contact 127.0.0.1:2553
//! ```
//!
//! It reads lines from standard input: `say TEXT` tells all members, `ask ADDRESS` asks one how often it was told something, `leave` leaves.
//! It exits with 0 when it has left, with 3 when it was downed, so that a supervisor starts it again.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use annals_actors::plain::{Actor, ActorContext, ActorSystem, BoxError, Props, ReplyTo};
use annals_cluster::discovery::StaticList;
use annals_cluster::downing::{Downing, Strategy};
use annals_cluster::remote::{Exposure, RemoteMessage, RemoteQuestion};
use annals_cluster::transport::{Security, TlsFiles, TransportSettings};
use annals_cluster::{Cluster, ClusterSettings, ClusterView, Heard, NodeAddress, StopReason};
use clap::Parser;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// A node of a cluster that says what it sees.
#[derive(Debug, Parser)]
struct Options {
    /// What others reach this node by.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: NodeAddress,
    /// Where it listens, if that is elsewhere.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Nodes to look for a cluster at: the same list for all.
    #[arg(long = "contact", value_name = "HOST:PORT", required = true)]
    contacts: Vec<NodeAddress>,
    /// A folder with node.pem, node.key and roots.pem. Without it, plaintext on loopback.
    #[arg(long, value_name = "FOLDER")]
    tls: Option<PathBuf>,
    /// A file with cluster secrets, one a line.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Where it remembers its cluster over restarts.
    #[arg(long, value_name = "FILE")]
    memory: Option<PathBuf>,
    /// Which side of a split goes on.
    #[arg(long, default_value = "keep-majority")]
    strategy: Strategy,
    /// How long unreachable members must have been so before it is decided about them, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 7_000)]
    stable_after_ms: u64,
    /// Silence of a member that is put up with, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 3_000)]
    acceptable_pause_ms: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).init();
    let options = Options::parse();
    let cluster = Cluster::start(options.settings()).await?;
    let mut events = cluster.events();

    let board = ActorSystem::new("example").spawn("board", Props::new(Board::default))?;
    let exposure = Exposure::of(&board)
        .tell(|said: Said| BoardMessage::Said(said))
        .ask(|_: Count, reply_to| BoardMessage::Count(reply_to));
    cluster.expose("board", exposure)?;

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let (mut reads, mut shown) = (true, String::new());
    loop {
        tokio::select! {
            heard = events.next() => match heard {
                Some(Heard::Event(event)) => say(event),
                Some(Heard::Missed(_)) => {}
                None => break,
            },
            line = lines.next_line(), if reads => match line? {
                Some(line) => obey(&cluster, &line).await,
                // Its input has ended; it goes on.
                None => reads = false,
            },
            stopped = cluster.stopped() => {
                say(format_args!("the end: {}", stopped.map_or_else(|| "closed".to_owned(), |reason| reason.to_string())));
                // The runtime would wait for one more line of its input.
                std::process::exit(if stopped == Some(StopReason::Downed) { 3 } else { 0 });
            }
        }
        show_members(&cluster.view(), &mut shown);
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    fn settings(&self) -> ClusterSettings {
        let security = match &self.tls {
            Some(folder) => {
                let file = |name| folder.join(name);
                Security::Tls(TlsFiles::new(file("node.pem"), file("node.key"), file("roots.pem")))
            }
            None => Security::plaintext_on_loopback(),
        };
        let mut transport = TransportSettings::new(self.advertise.clone(), security);
        transport.listen = self.listen;
        transport.secret_file.clone_from(&self.secrets);
        let mut settings = ClusterSettings::new(transport, StaticList::new(self.contacts.clone()));
        settings.memory_file.clone_from(&self.memory);
        settings.membership.cluster_name = "example".to_owned();
        settings.membership.downing = Downing::of(self.strategy.clone(), self.contacts.len());
        settings.membership.downing.stable_after = Duration::from_millis(self.stable_after_ms);
        settings.membership.detector.acceptable_pause = Duration::from_millis(self.acceptable_pause_ms);
        settings
    }
}

/// A line when the members, or who is reached, have changed.
fn show_members(view: &ClusterView, shown: &mut String) {
    let unreachable = view.unreachable();
    let members = view.members().into_iter().map(|member| {
        let not_reached = if unreachable.contains(&member.incarnation()) { " (unreachable)" } else { "" };
        format!("{} {}{not_reached}", member.address(), member.status)
    });
    let members = members.collect::<Vec<_>>().join(", ");
    if members != *shown {
        say(format_args!("members: {members}"));
        *shown = members;
    }
}

async fn obey(cluster: &Cluster, line: &str) {
    match line.split_once(' ').unwrap_or((line.trim(), "")) {
        ("say", text) => {
            let view = cluster.view();
            for member in view.members() {
                let said = Said { by: cluster.address().to_string(), text: text.to_owned() };
                if let Err(failure) = cluster.remote(&member.identity.id, "board").tell(&said).await {
                    say(failure);
                }
            }
        }
        ("ask", address) => {
            let view = cluster.view();
            let Some(member) =
                view.members().into_iter().find(|member| member.address().to_string() == address)
            else {
                return say(format_args!("{address} is no member"));
            };
            let remote = cluster.remote(&member.identity.id, "board");
            match remote.ask(&Count {}, Duration::from_secs(3)).await {
                Ok(counted) => say(format_args!("{address} was told {} times", counted.times)),
                Err(failure) => say(failure),
            }
        }
        ("leave", _) => cluster.leave(),
        _ => say("say TEXT, ask ADDRESS, or leave"),
    }
}

fn say(what: impl Display) {
    println!("{what}");
}

/// Shows what it is told.
#[derive(Default)]
struct Board {
    times: u64,
}

enum BoardMessage {
    Said(Said),
    Count(ReplyTo<Counted>),
}

impl Actor for Board {
    type Message = BoardMessage;

    async fn receive(&mut self, message: BoardMessage, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        match message {
            BoardMessage::Said(Said { by, text }) => {
                self.times += 1;
                say(format_args!("{by} says {text:?}"));
            }
            BoardMessage::Count(reply_to) => reply_to.send(Counted { times: self.times }),
        }
        Ok(())
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Said {
    #[prost(string, tag = "1")]
    by: String,
    #[prost(string, tag = "2")]
    text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Count {}

#[derive(Clone, PartialEq, prost::Message)]
struct Counted {
    #[prost(uint64, tag = "1")]
    times: u64,
}

impl RemoteMessage for Said {
    const MANIFEST: &'static str = "said";
}

impl RemoteMessage for Count {
    const MANIFEST: &'static str = "count";
}

impl RemoteQuestion for Count {
    type Answer = Counted;
}
