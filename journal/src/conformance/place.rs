use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

/// Where one clause's store lives. A clone is the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(Arc<PathBuf>);

impl Place {
    /// A directory that exists, empty at first, and is removed when the clause ends.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// A name that no other place has: lower-case letters, digits and `_`, at most 48, a letter first.
    pub fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(super) fn create() -> Self {
        let directory = std::env::temp_dir().join(format!("annals_{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(&directory).expect("a clause needs a directory for temporary files");
        Self(Arc::new(directory))
    }

    /// The place that another process created.
    pub(super) fn at(directory: PathBuf) -> Self {
        Self(Arc::new(directory))
    }

    pub(super) fn remove(&self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&*self.0);
    }
}
