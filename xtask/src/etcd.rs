//! Builds the real etcd, etcdctl and etcdutl, at the version that `interop/go/go.mod` pins. They
//! come as source from the Go module registry; Go caches both, so a second run takes seconds.

use crate::repo::Repo;
use crate::{Failure, say};

/// Where the programs go, from the root of the tree.
pub(crate) const FOLDER: &str = "target/interop/bin";

const PROGRAMS: [(&str, &str); 3] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("etcdctl", "go.etcd.io/etcd/etcdctl/v3"),
    ("etcdutl", "go.etcd.io/etcd/etcdutl/v3"),
];

/// The chore.
pub(crate) fn run(repo: &Repo, _: &[String]) -> Result<(), Failure> {
    for (name, package) in PROGRAMS {
        let path = repo.path(FOLDER).join(name);
        repo.output(
            "interop/go",
            "go",
            [
                "build".as_ref(),
                "-o".as_ref(),
                path.as_os_str(),
                package.as_ref(),
            ],
        )?;
        say(&format!("{}", path.display()));
    }
    Ok(())
}
