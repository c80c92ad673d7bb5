//! As whom servers run: PostgreSQL refuses to run as root.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// A system user without rights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// Whom a process of root takes: `postgres`, or `nobody` where that is missing. `None`: it may stay who it is.
    pub(crate) fn needed() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"].into_iter().find_map(|name| Self::of(&users, name))
    }

    fn of(users: &str, name: &str) -> Option<Self> {
        let mut fields = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }

    /// A command that runs as this user.
    pub(crate) fn take(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    pub(crate) fn own(self, folder: &Path) -> Result<()> {
        chown(folder, Some(self.uid), Some(self.gid))
            .with_context(|| format!("giving away {}", folder.display()))
    }
}

/// Whether the servers' user may go into a folder.
pub(crate) fn may_enter(folder: &Path) -> bool {
    let Some(account) = Account::needed() else { return true };
    folder.ancestors().all(|folder| {
        // What is not there yet will be made by us.
        let Ok(found) = std::fs::metadata(folder) else { return true };
        found.mode() & 0o001 != 0 || found.uid() == account.uid
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "postgres2:x:1:2::/:\npostgres:x:101:104:,,,:/var:/bin/bash\n";
        let account = Account::of(users, "postgres").unwrap();
        assert_eq!((account.uid, account.gid), (101, 104));
        assert!(Account::of(users, "nobody").is_none());
    }
}
