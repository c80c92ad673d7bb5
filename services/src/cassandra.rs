//! A private Apache Cassandra: one node, or a [`Ring`] of several, from the artifacts of Maven Central.
//!
//! ```text
//! cache   $XDG_CACHE_HOME/annals-cassandra/lib-VERSION/*.jar     fetched once by Maven
//! folder  conf/ │ data/ commitlog/ … │ pid, port, log            of one node
//! ```

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process;

mod ring;
pub use ring::Ring;
use ring::Seat;

/// A JDK and Cassandra's jars.
#[derive(Debug, Clone)]
pub struct Installation {
    java: PathBuf,
    jars: PathBuf,
}

impl Installation {
    /// Finds a JDK, and the jars where an earlier run has put them.
    pub fn find() -> Option<Self> {
        let jars = jars();
        Some(Self { java: java().ok()?, jars: jars.join(COMPLETE).exists().then_some(jars)? })
    }

    /// Finds them, or has Maven fetch the jars (70 MB, once).
    ///
    /// # Errors
    /// What to do by hand.
    pub fn find_or_fetch() -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        java()?;
        let jars = jars();
        let parent = jars.parent().context("the cache has no folder")?;
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        eprintln!("  … fetching Apache Cassandra {}", version());
        let part = parent.join(format!("part-{}", std::process::id()));
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(&part)?;
        let pom = part.join("pom.xml");
        fs::write(&pom, POM)?;
        let output = Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg("-f")
            .arg(&pom)
            .arg(format!("-DoutputDirectory={}", part.display()))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("Cassandra's jars are not there, and there is no mvn: {BY_HAND}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "mvn did not fetch Cassandra {}: {}; {BY_HAND}",
            version(),
            said.lines().find(|line| line.contains("ERROR")).unwrap_or(said.trim())
        );
        fs::write(part.join(COMPLETE), "")?;
        // Whoever was faster has the same.
        if fs::rename(&part, &jars).is_err() {
            let _ = fs::remove_dir_all(&part);
        }
        Self::find()
            .with_context(|| format!("the jars are not in {} after they were fetched", jars.display()))
    }
}

/// How a node is started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Whether a write is answered after it is on disk (`commitlog_sync: batch`), not up to 10 s before (`periodic`).
    pub batch: bool,
}

/// A node with its data in a folder. It listens on loopback only, and trusts everybody there.
#[derive(Debug, Clone)]
pub struct Node {
    installation: Installation,
    folder: PathBuf,
    seat: Seat,
}

impl Node {
    /// The one in this folder, which need not exist; it has no others beside it.
    pub fn at(installation: Installation, folder: &Path) -> Self {
        Self { installation, folder: folder.to_owned(), seat: Seat::ALONE }
    }

    /// Starts it and waits until it answers CQL; gives `host:port`, the same as before where it can. One that runs stays as it is.
    ///
    /// # Errors
    /// What the node says about why it did not start.
    pub fn start(&self, settings: Settings) -> Result<String> {
        if let Some(address) = self.address() {
            // Perhaps somebody else has just started it.
            self.answered(PATIENCE)?;
            return Ok(address);
        }
        // Whoever was connected comes back to where it was; and somebody else may take a port between our look and the node's.
        let mut before = fs::read_to_string(self.file("port")).ok().and_then(|port| port.trim().parse().ok());
        for attempt in 1.. {
            let port = match self.seat.ports {
                Some((port, _)) => port,
                None => before.take().map_or_else(free_port, Ok)?,
            };
            match self.launch(port, settings).and_then(|()| self.answered(PATIENCE)) {
                Ok(()) => break,
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(error) => {
                    eprintln!("starting Cassandra again: {error:#}");
                    let _ = self.kill();
                }
            }
        }
        self.address().context("Cassandra started, and does not run")
    }

    /// Its `host:port`, when it runs.
    pub fn address(&self) -> Option<String> {
        let port = fs::read_to_string(self.file("port")).ok()?;
        self.pid().map(|_| format!("{}:{}", self.seat.address, port.trim()))
    }

    /// Kills it with SIGKILL; its next start reads its commit log.
    ///
    /// # Errors
    /// It does not run, or does not go.
    pub fn kill(&self) -> Result<()> {
        let pid = self.pid().context("no Cassandra runs here")?;
        process::kill_family(pid)?;
        // Its ports and files are closed by its last thread, not by its first.
        let began = Instant::now();
        while process::threads(pid) > 1 {
            ensure!(began.elapsed() < PATIENCE, "the threads of process {pid} do not end after SIGKILL");
            std::thread::sleep(POLL);
        }
        fs::remove_file(self.file("pid")).context("removing what a killed Cassandra left")
    }

    /// Stops it, if it runs, and deletes what it has stored.
    ///
    /// # Errors
    /// It does not stop, or its files cannot be removed.
    pub fn wipe(&self) -> Result<()> {
        if self.pid().is_some() {
            self.kill()?;
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// What the node said since its last start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Its process, when it runs and is ours: a number may have been given to another.
    fn pid(&self) -> Option<i32> {
        let pid = fs::read_to_string(self.file("pid")).ok()?.trim().parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let ours = String::from_utf8_lossy(&command).contains(&*self.folder.to_string_lossy());
        (ours && process::runs(pid)).then_some(pid)
    }

    fn launch(&self, port: u16, settings: Settings) -> Result<()> {
        let folder = self.folder.to_str().context("the folder's name is not UTF-8")?;
        let conf = self.file("conf");
        for made in [&conf, &self.file("tmp")] {
            fs::create_dir_all(made).with_context(|| format!("creating {}", made.display()))?;
        }
        let sync = if settings.batch {
            "commitlog_sync: batch"
        } else {
            "commitlog_sync: periodic\ncommitlog_sync_period: 10000ms"
        };
        let storage_port = self.seat.ports.map_or_else(free_port, |(_, storage)| Ok(storage))?;
        let yaml = YAML
            .replace("@FOLDER@", folder)
            .replace("@ADDRESS@", &self.seat.address.to_string())
            .replace("@SEED@", &Seat::ALONE.address.to_string())
            .replace("@TOKEN@", &self.seat.token.to_string())
            .replace("@COMMITLOG_SYNC@", sync)
            .replace("@CQL_PORT@", &port.to_string())
            .replace("@SSL_STORAGE_PORT@", &free_port()?.to_string())
            .replace("@STORAGE_PORT@", &storage_port.to_string());
        fs::write(conf.join("cassandra.yaml"), yaml)?;
        fs::write(conf.join("logback.xml"), LOGBACK)?;
        let log = fs::File::create(self.file("log"))?;
        let flags = JVM.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let child = Command::new(&self.installation.java)
            .args(flags)
            .arg(format!("-Dcassandra.ring_delay_ms={}", self.seat.ring_delay.as_millis()))
            .arg(format!("-Djava.io.tmpdir={folder}/tmp"))
            .arg(format!("-Djna.tmpdir={folder}/tmp"))
            .arg(format!("-Dcassandra.config=file://{folder}/conf/cassandra.yaml"))
            .arg(format!("-Dlogback.configurationFile={folder}/conf/logback.xml"))
            .arg(format!("-Dcassandra.storagedir={folder}"))
            .arg("-cp")
            .arg(format!("{folder}/conf:{}/*", self.installation.jars.display()))
            .arg("org.apache.cassandra.service.CassandraDaemon")
            .current_dir(&self.folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.installation.java.display()))?;
        fs::write(self.file("port"), port.to_string())?;
        fs::write(self.file("pid"), child.id().to_string()).context("remembering the process")
    }

    /// Waits until it answers CQL.
    fn answered(&self, patience: Duration) -> Result<()> {
        let port = fs::read_to_string(self.file("port"))?.trim().parse()?;
        let began = Instant::now();
        let mut missed = 0;
        while !speaks_cql(self.seat.address, port) {
            let log = self.log();
            let last = log.lines().rev().take(15).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>();
            // What was just started has no command line yet.
            missed = if self.pid().is_some() { 0 } else { missed + 1 };
            if missed > MISSED {
                bail!("Cassandra ended before it answered on port {port}:\n{}", last.join("\n"));
            }
            if began.elapsed() > patience {
                bail!("Cassandra did not answer on port {port} within {patience:?}:\n{}", last.join("\n"));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// A node for one test: gone when it is dropped.
#[derive(Debug)]
pub struct Private(Node);

impl Private {
    /// Starts a new one in a folder, which is removed with it; and gives its `host:port`.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start(installation: Installation, folder: &Path, settings: Settings) -> Result<(Self, String)> {
        let private = Self(Node::at(installation, folder));
        let address = private.0.start(settings)?;
        Ok((private, address))
    }
}

impl std::ops::Deref for Private {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Err(error) = self.0.wipe() {
            eprintln!("a Cassandra could not be stopped: {error:#}");
        }
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether it answers `OPTIONS` of the fourth version of the protocol.
fn speaks_cql(address: Ipv4Addr, port: u16) -> bool {
    let ask = || -> std::io::Result<[u8; 5]> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(&[4, 0, 0, 0, 5, 0, 0, 0, 0])?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    const SUPPORTED: u8 = 6;
    ask().is_ok_and(|answer| answer[0] == 0x84 && answer[4] == SUPPORTED)
}

/// Java 11 or 17, which Cassandra 5.0 runs on.
fn java() -> Result<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let java = home.unwrap_or_else(|| "java".into());
    let output = Command::new(&java)
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("there is no Java: {BY_HAND}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let version = said.split('"').nth(1).and_then(|version| version.split('.').next()).unwrap_or_default();
    ensure!(
        matches!(version, "11" | "17"),
        "Cassandra needs Java 11 or 17, and {said:?} is there: {BY_HAND}"
    );
    Ok(java)
}

fn jars() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).unwrap_or_else(std::env::temp_dir);
    cache.join("annals-cassandra").join(format!("lib-{}", version()))
}

/// What the project file for Maven says.
fn version() -> &'static str {
    let rest = POM.split("<cassandra.version>").nth(1).unwrap_or_default();
    rest.split('<').next().unwrap_or_default()
}

const POM: &str = include_str!("../cassandra/pom.xml");
const YAML: &str = include_str!("../cassandra/cassandra.yaml.in");
const LOGBACK: &str = include_str!("../cassandra/logback.xml");
const JVM: &str = include_str!("../cassandra/jvm.options");
const COMPLETE: &str = ".complete";
const BY_HAND: &str = "install a JDK 17 and Maven 3, or set CASSANDRA_NODES";
const PATIENCE: Duration = Duration::from_secs(180);
const ANSWER: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// So many looks in a row that did not find the process: it has ended.
const MISSED: u32 = 10;
const ATTEMPTS: u32 = 3;
