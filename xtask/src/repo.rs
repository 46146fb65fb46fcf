//! The repository as files: where it is, what is in it, how to run a program in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// Folders whose content is made, not written.
const NOT_OURS: [&str; 6] = ["target", ".git", "node_modules", "bin", "dist", "corpus"];

/// A work tree.
#[derive(Clone, Debug)]
pub(crate) struct Repo {
    root: PathBuf,
}

/// A file of text, with its path from the root.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Repo {
    /// The work tree that this program was built from.
    pub(crate) fn own() -> Repo {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        Repo::at(
            manifest
                .parent()
                .expect("xtask is a folder of the repository"),
        )
    }

    /// The work tree at a path.
    pub(crate) fn at(root: &Path) -> Repo {
        Repo {
            root: root.to_owned(),
        }
    }

    /// A path in the tree.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Reads a file of the tree.
    pub(crate) fn read(&self, relative: &str) -> Result<String, Failure> {
        fs::read_to_string(self.path(relative)).map_err(|source| Failure::File {
            path: relative.to_owned(),
            source,
        })
    }

    /// Writes a file of the tree, with the folders above it.
    pub(crate) fn write(&self, relative: &str, text: &str) -> Result<(), Failure> {
        let path = self.path(relative);
        let folder = path.parent().expect("a file of the tree has a folder");
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, text))
            .map_err(|source| Failure::File {
                path: relative.to_owned(),
                source,
            })
    }

    /// All files of text in the tree, in the order of their paths; what is made by tools and what
    /// is not text is left out, and so are symbolic links.
    pub(crate) fn text_files(&self) -> Result<Vec<TextFile>, Failure> {
        let mut files = Vec::new();
        self.collect(&self.root, &mut files)?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    fn collect(&self, folder: &Path, files: &mut Vec<TextFile>) -> Result<(), Failure> {
        let failure = |source| Failure::File {
            path: folder.display().to_string(),
            source,
        };
        for entry in fs::read_dir(folder).map_err(failure)? {
            let entry = entry.map_err(failure)?;
            let kind = entry.file_type().map_err(failure)?;
            let path = entry.path();
            if kind.is_dir() && !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                self.collect(&path, files)?;
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(&path)
            {
                let relative = path.strip_prefix(&self.root).unwrap_or(&path);
                files.push(TextFile {
                    path: relative.to_string_lossy().into_owned(),
                    text,
                });
            }
        }
        Ok(())
    }

    /// Runs a program in a folder of the tree and returns what it printed.
    pub(crate) fn output<I, S>(
        &self,
        folder: &str,
        program: &str,
        args: I,
    ) -> Result<String, Failure>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let output = Command::new(program)
            .args(args)
            .current_dir(self.path(folder))
            .output()
            .map_err(|source| Failure::Program {
                program: program.to_owned(),
                source,
            })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Failure::Status {
            program: program.to_owned(),
            status: output.status,
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}
