//! What a person sees who starts `tenet` on a terminal: where it listens, where the data is, what
//! to type next, and whether the disk is quick enough.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Syncs that are measured.
const SYNCS: usize = 9;
/// What is written before each.
const SYNC_BYTES: usize = 4096;
/// Above this a disk is called slow: every write waits for a sync.
const SLOW_SYNC: Duration = Duration::from_millis(10);
const PROBE: &str = ".sync-probe";

/// The median time of a small write with its sync in this directory.
pub(crate) fn measure_sync(directory: &Path) -> io::Result<Duration> {
    let path = directory.join(PROBE);
    let measured = sync_times(&path);
    // Nothing depends on it; a probe that is left behind is overwritten next time.
    let _ = std::fs::remove_file(&path);
    let mut times = measured?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn sync_times(path: &Path) -> io::Result<Vec<Duration>> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let block = [0x5a; SYNC_BYTES];
    (0..SYNCS)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&block)?;
            file.sync_data()?;
            Ok(start.elapsed())
        })
        .collect()
}

/// The greeting.
pub(crate) fn text(clients: &[String], data_dir: &Path, sync: Option<Duration>) -> String {
    let data_dir = std::fs::canonicalize(data_dir).unwrap_or(data_dir.to_owned());
    let mut out = format!(
        "\nTenet {} is serving, as etcd {} would.\n\n",
        env!("CARGO_PKG_VERSION"),
        crate::config::ETCD_VERSION
    );
    let mut line = |name: &str, text: &str| out.push_str(&format!("  {name:<9}{text}\n"));
    for client in clients {
        line("clients", client);
    }
    line("data", &data_dir.display().to_string());
    if let Some(sync) = sync {
        let ms = sync.as_secs_f64() * 1e3;
        line("disk", &format!("a sync takes {ms:.1} ms"));
        if sync > SLOW_SYNC {
            line(
                "",
                "That is slow, and every write waits for one: put --data-dir on an SSD.",
            );
        }
    }
    if let Some(client) = clients.first() {
        let ours = client == "http://127.0.0.1:2379" || client == "http://localhost:2379";
        let endpoints = if ours {
            String::new()
        } else {
            format!("--endpoints {client} ")
        };
        line("try", &format!("tenet ctl {endpoints}put hello world"));
    }
    out.push_str("\nCtrl-C stops it.\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_measured_and_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sync = measure_sync(dir.path()).expect("a writable directory");
        assert!(sync > Duration::ZERO);
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
        assert!(measure_sync(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn the_greeting_says_what_to_type() {
        let clients = ["http://127.0.0.1:2379".to_owned()];
        let data = Path::new("/nowhere/default.etcd");
        let quick = text(&clients, data, Some(Duration::from_micros(340)));
        assert!(
            quick.contains("  try      tenet ctl put hello world\n"),
            "{quick}"
        );
        assert!(quick.contains("a sync takes 0.3 ms"), "{quick}");
        assert!(!quick.contains("slow"), "{quick}");
        let elsewhere = ["http://127.0.0.1:9".to_owned()];
        let slow = text(&elsewhere, data, Some(Duration::from_millis(25)));
        assert!(
            slow.contains("tenet ctl --endpoints http://127.0.0.1:9 put"),
            "{slow}"
        );
        assert!(slow.contains("That is slow"), "{slow}");
    }
}
