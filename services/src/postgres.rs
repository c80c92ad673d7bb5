use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::account::Account;
use crate::process;

/// The programs of an installed PostgreSQL.
#[derive(Debug, Clone)]
pub struct Installation {
    bin: PathBuf,
}

impl Installation {
    /// Finds one: `POSTGRES_BIN`, what `pg_ctl` on the path leads to, or the newest where Debian keeps them.
    pub fn find() -> Option<Self> {
        let named = std::env::var_os("POSTGRES_BIN").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path)
            .filter_map(|folder| Some(fs::canonicalize(folder.join("pg_ctl")).ok()?.parent()?.to_owned()));
        let candidates = named.into_iter().chain(on_path).chain(debian());
        candidates
            .filter(|bin| ["initdb", "pg_ctl"].iter().all(|name| bin.join(name).is_file()))
            .map(|bin| Self { bin })
            .next()
    }

    /// One of its programs, such as `pg_dump`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Finds one, or installs Debian's package where this process may.
    ///
    /// # Errors
    /// What to do by hand.
    pub fn find_or_install() -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        const BY_HAND: &str = "install Debian's package postgresql, set POSTGRES_BIN, or set DATABASE_URL";
        ensure!(rustix::process::geteuid().is_root(), "PostgreSQL is not installed: {BY_HAND}");
        eprintln!("  … installing PostgreSQL");
        for args in [&["update"][..], &["install", "--yes", "--no-install-recommends", "postgresql"]] {
            let output = Command::new("apt-get")
                .args(args)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdin(Stdio::null())
                .output()
                .with_context(|| {
                    format!("PostgreSQL is not installed, and there is no apt-get: {BY_HAND}")
                })?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "apt-get {} failed: {}; {BY_HAND}", args.join(" "), said.trim());
        }
        Self::find().with_context(|| format!("PostgreSQL is not there after its installation: {BY_HAND}"))
    }
}

fn debian() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether an acknowledged commit survives a power cut. What a killed server acknowledged is there without it too.
    pub fsync: bool,
    /// Further settings, such as `("statement_timeout", "100")`.
    pub more: Vec<(String, String)>,
}

/// A server with its data in a folder. It listens on loopback only, and trusts everybody there.
#[derive(Debug, Clone)]
pub struct Cluster {
    installation: Installation,
    folder: PathBuf,
}

impl Cluster {
    /// The one in this folder, which need not exist.
    pub fn at(installation: Installation, folder: &Path) -> Self {
        Self { installation, folder: folder.to_owned() }
    }

    /// Starts it and waits until it answers; gives its URL, the same as before where it can. One that runs stays as it is.
    ///
    /// # Errors
    /// What the server says about why it did not start.
    pub fn start(&self, settings: &Settings) -> Result<String> {
        if let Some(url) = self.url() {
            return Ok(url);
        }
        self.create()?;
        // Whoever was connected comes back to where it was; and somebody else may take a port between our look and the server's.
        let mut before = fs::read_to_string(self.port_file()).ok().and_then(|port| port.trim().parse().ok());
        for attempt in 1.. {
            let free =
                || Ok::<_, std::io::Error>(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port());
            let port = before.take().map_or_else(free, Ok)?;
            match self.start_on(port, settings) {
                Ok(()) => break,
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => {}
            }
        }
        let url = self.url().context("PostgreSQL started, and does not run")?;
        if let Some(port) = url.rsplit(':').next().and_then(|rest| rest.split('/').next()) {
            fs::write(self.port_file(), port).context("remembering the port")?;
        }
        Ok(url)
    }

    /// Its URL, when it runs.
    pub fn url(&self) -> Option<String> {
        let file = fs::read_to_string(self.pid_file()).ok()?;
        let mut lines = file.lines();
        let running = process::runs(lines.next()?.trim().parse().ok()?);
        let port = lines.nth(PORT_LINE - 1)?;
        running.then(|| format!("postgres://postgres@127.0.0.1:{port}/postgres"))
    }

    /// Stops it, if it runs.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop(&self) -> Result<()> {
        if self.url().is_some() {
            self.run("pg_ctl", &["stop", "--mode=fast", "--wait", "--timeout=60", "--silent"])?;
        }
        Ok(())
    }

    /// Kills it with SIGKILL, and every process of it; its next start recovers from its log.
    ///
    /// # Errors
    /// It does not run, or does not go.
    pub fn kill(&self) -> Result<()> {
        let file = fs::read_to_string(self.pid_file()).context("no PostgreSQL runs here")?;
        let pid = file.lines().next().unwrap_or_default().trim();
        process::kill_family(pid.parse().with_context(|| format!("{pid:?} is no process id"))?)?;
        // Where nobody waits for orphans, the next server would take the dead one for alive.
        fs::remove_file(self.pid_file()).context("removing what a killed PostgreSQL left")
    }

    /// Stops it and deletes what it has stored.
    ///
    /// # Errors
    /// It does not stop, or its files cannot be removed.
    pub fn wipe(&self) -> Result<()> {
        self.stop()?;
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// What the server said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The folder with its configuration files.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Puts a file into the folder with the configuration, such as a key for TLS, that only the server may read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.data().join(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Account::needed().map_or(Ok(()), |account| account.own(&path))
    }

    /// Gives a folder to whoever runs the server, such as one for a tablespace.
    ///
    /// # Errors
    /// It cannot be given away.
    pub fn give(&self, folder: &Path) -> Result<()> {
        Account::needed().map_or(Ok(()), |account| account.own(folder))
    }

    /// A standby of this server in another folder, which follows it once it is started.
    ///
    /// # Errors
    /// The server does not run, or gives no copy of itself.
    pub fn standby(&self, folder: &Path) -> Result<Self> {
        let url = self.url().context("PostgreSQL does not run, and has nobody to follow")?;
        let standby = Self::at(self.installation.clone(), folder);
        standby.make_folder()?;
        let output = standby
            .program("pg_basebackup")
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D"])
            .arg(standby.data())
            .args(["-d", &url])
            .output()
            .context("starting pg_basebackup")?;
        ensure!(
            output.status.success(),
            "pg_basebackup failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(standby)
    }

    /// Makes a standby the primary, and waits until it is.
    ///
    /// # Errors
    /// It does not become one.
    pub fn promote(&self) -> Result<()> {
        self.run("pg_ctl", &["promote", "--wait", "--timeout=60", "--silent"])
    }

    fn port_file(&self) -> PathBuf {
        self.folder.join("port")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn make_folder(&self) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("creating {}", self.folder.display()))?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;
        Account::needed().map_or(Ok(()), |account| account.own(&self.folder))
    }

    fn create(&self) -> Result<()> {
        if self.data().join("PG_VERSION").exists() {
            return Ok(());
        }
        let making = self.folder.join("data.new");
        let _ = fs::remove_dir_all(&making);
        self.make_folder()?;
        let output = self
            .program("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&making)
            .output()
            .context("starting initdb")?;
        ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        // Whole or not there: a run that is killed leaves no half of one.
        fs::rename(&making, self.data()).context("putting a new PostgreSQL in its place")
    }

    fn start_on(&self, port: u16, settings: &Settings) -> Result<()> {
        let fsync = if settings.fsync { "on" } else { "off" };
        let usual = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", "''"),
            ("max_connections", "300"),
            ("fsync", fsync),
        ];
        let mut options = format!("-p {port}");
        let more = settings.more.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in usual.into_iter().chain(more) {
            options.push_str(&format!(" -c {name}={value}"));
        }
        let log = self.log_file();
        let log = log.to_str().context("the folder's name is not UTF-8")?;
        let started =
            self.run("pg_ctl", &["start", "--wait", "--timeout=60", "--silent", "-l", log, "-o", &options]);
        if let Err(error) = started {
            let said = self.log();
            let last = said
                .lines()
                .rev()
                .take(15)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
                .join("\n");
            bail!("PostgreSQL did not start on port {port}: {error:#}\n{last}");
        }
        Ok(())
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        // A server inherits what its starter prints to: a pipe would never end.
        let mut command = self.program(program);
        command.args(args).arg("-D").arg(self.data()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().with_context(|| format!("starting {program}"))?;
        ensure!(status.success(), "`{program} {}` failed", args.first().copied().unwrap_or_default());
        Ok(())
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.installation.bin.join(name));
        command.current_dir("/").stdin(Stdio::null());
        for (variable, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG"))
        {
            command.env_remove(variable);
        }
        if let Some(account) = Account::needed() {
            account.take(&mut command);
        }
        command
    }
}

/// A server for one test: gone when it is dropped.
#[derive(Debug)]
pub struct Private(Cluster);

impl Private {
    /// Starts a new one in a folder, which is removed with it.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start(installation: Installation, folder: &Path, settings: &Settings) -> Result<(Self, String)> {
        let private = Self(Cluster::at(installation, folder));
        let url = private.0.start(settings)?;
        Ok((private, url))
    }
}

impl From<Cluster> for Private {
    /// Takes a server over: it is stopped and removed with this.
    fn from(cluster: Cluster) -> Self {
        Self(cluster)
    }
}

impl std::ops::Deref for Private {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Err(error) = self.0.wipe() {
            eprintln!("a PostgreSQL could not be stopped: {error:#}");
        }
    }
}

/// The line of `postmaster.pid` that has the port, from 0; the first has the process.
const PORT_LINE: usize = 3;
const ATTEMPTS: u32 = 3;
