use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The workspace that xtask belongs to.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Asks the cargo that runs us.
    pub(crate) fn of_this_cargo() -> Result<Self> {
        let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR")
            .context("CARGO_MANIFEST_DIR is not set: run this as `cargo xtask`")?;
        let root =
            Path::new(&manifest_dir).parent().context("the folder of xtask has no parent")?.to_path_buf();
        ensure!(root.join("Cargo.toml").is_file(), "{} holds no Cargo.toml", root.display());
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Files that git tracks or would track, relative to the root, in the order of their paths.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let listing = self.git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
        let mut files: Vec<PathBuf> = listing
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .filter(|path| self.root.join(path).is_file())
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// The same, with an extension.
    pub(crate) fn files_with_extension(&self, extension: &str) -> Result<Vec<PathBuf>> {
        let mut files = self.files()?;
        files.retain(|path| path.extension().is_some_and(|found| found == extension));
        Ok(files)
    }

    /// The text of a file.
    pub(crate) fn read(&self, path: &Path) -> Result<String> {
        std::fs::read_to_string(self.root.join(path)).with_context(|| format!("reading {}", path.display()))
    }

    /// What a git command prints.
    pub(crate) fn git(&self, args: &[&str]) -> Result<String> {
        let output =
            Command::new("git").args(args).current_dir(&self.root).output().context("running git")?;
        ensure!(
            output.status.success(),
            "git {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
