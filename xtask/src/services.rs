use anyhow::{Context, Result};

use annals_services::{Cluster, Installation, Settings, cassandra, folder};

use crate::workspace::Workspace;

/// Arguments of `cargo xtask services`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Starts them and prints the variables that tests read; those that run stay as they are.
    Start {
        /// What is acknowledged survives a power cut too. Slower, and no test asks for it.
        #[arg(long)]
        fsync: bool,
    },
    /// Stops them and deletes their data.
    Stop,
    /// Says which run; fails when one does not.
    Status,
}

/// Does what was asked for; `false` when `status` found a server that does not run.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    match args.action {
        Action::Start { fsync } => {
            let url = postgres(workspace, Installation::find_or_install()?)
                .start(&Settings { fsync, ..Settings::default() })?;
            println!("{POSTGRES}={url}");
            let node = node(workspace, cassandra::Installation::find_or_fetch()?);
            println!("{CASSANDRA}={}", node.start(cassandra::Settings { batch: fsync })?);
            Ok(true)
        }
        Action::Stop => {
            if let Some(installation) = Installation::find() {
                postgres(workspace, installation).wipe()?;
            }
            if let Some(installation) = cassandra::Installation::find() {
                node(workspace, installation).wipe()?;
            }
            Ok(true)
        }
        Action::Status => {
            let url = Installation::find().and_then(|found| postgres(workspace, found).url());
            match &url {
                Some(url) => println!("PostgreSQL runs: {POSTGRES}={url}"),
                None => println!("PostgreSQL does not run"),
            }
            let address = cassandra::Installation::find().and_then(|found| node(workspace, found).address());
            match &address {
                Some(address) => println!("Cassandra runs: {CASSANDRA}={address}"),
                None => println!("Cassandra does not run"),
            }
            Ok(url.is_some() && address.is_some())
        }
    }
}

/// The servers of a run of tests. Those that the run started are stopped with it, also when it fails.
pub(crate) struct Services {
    variables: Vec<(&'static str, String)>,
    missing: Vec<String>,
    started: Option<Cluster>,
    node: Option<cassandra::Node>,
}

impl Services {
    /// Starts those that nobody named and that do not run yet.
    pub(crate) fn for_tests(workspace: &Workspace) -> Result<Self> {
        let mut services = Self { variables: Vec::new(), missing: Vec::new(), started: None, node: None };
        if std::env::var_os(POSTGRES).is_none() {
            services.start_postgres(workspace)?;
        }
        if std::env::var_os(CASSANDRA).is_none() {
            services.start_cassandra(workspace)?;
        }
        Ok(services)
    }

    fn start_cassandra(&mut self, workspace: &Workspace) -> Result<()> {
        let installation = match cassandra::Installation::find_or_fetch() {
            Ok(found) => found,
            Err(error) if std::env::var_os("CI").is_some() => {
                return Err(error.context("CI tests every backend"));
            }
            Err(error) => {
                let missing = format!("what needs Cassandra was not tested: {error:#}");
                eprintln!("\n!!! {missing}\n");
                self.missing.push(missing);
                return Ok(());
            }
        };
        let node = node(workspace, installation);
        let address = match node.address() {
            Some(address) => address,
            None => {
                let started = node.start(cassandra::Settings::default());
                self.node = Some(node);
                started.context("starting Cassandra for the tests")?
            }
        };
        self.variables.push((CASSANDRA, address));
        Ok(())
    }

    fn start_postgres(&mut self, workspace: &Workspace) -> Result<()> {
        let installation = match Installation::find_or_install() {
            Ok(found) => found,
            Err(error) if std::env::var_os("CI").is_some() => {
                return Err(error.context("CI tests every backend"));
            }
            Err(error) => {
                let missing = format!("what needs PostgreSQL was not tested: {error:#}");
                eprintln!("\n!!! {missing}\n");
                self.missing.push(missing);
                return Ok(());
            }
        };
        let cluster = postgres(workspace, installation);
        let url = match cluster.url() {
            Some(url) => url,
            None => {
                let url = cluster.start(&Settings::default()).context("starting PostgreSQL for the tests")?;
                self.started = Some(cluster);
                url
            }
        };
        self.variables.push((POSTGRES, url));
        Ok(())
    }

    /// What tests read to find the servers.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// What could not be tested, and why.
    pub(crate) fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Stops what this run started.
    pub(crate) fn stop(mut self) -> Result<()> {
        let node = self.node.take().map_or(Ok(()), |node| node.wipe());
        self.started.take().map_or(Ok(()), |cluster| cluster.wipe()).and(node)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.started.take().map(|cluster| cluster.wipe()) {
            eprintln!("error: PostgreSQL could not be stopped: {error:#}");
        }
        if let Some(Err(error)) = self.node.take().map(|node| node.wipe()) {
            eprintln!("error: Cassandra could not be stopped: {error:#}");
        }
    }
}

fn postgres(workspace: &Workspace, installation: Installation) -> Cluster {
    Cluster::at(installation, &data(workspace).join("postgres"))
}

fn node(workspace: &Workspace, installation: cassandra::Installation) -> cassandra::Node {
    cassandra::Node::at(installation, &data(workspace).join("cassandra"))
}

/// Where their data is.
fn data(workspace: &Workspace) -> std::path::PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), std::path::PathBuf::from);
    folder(&workspace.root().join(target))
}

/// Where tests find a PostgreSQL.
const POSTGRES: &str = "DATABASE_URL";
/// Where tests find a Cassandra, as `host:port,host:port`.
const CASSANDRA: &str = "CASSANDRA_NODES";
