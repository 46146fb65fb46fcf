//! The medium: what the files and directories hold now, and what of it would survive.
//!
//! A file is a sequence of 512-byte sectors. Each has a durable content and, since the last sync
//! of its file, the contents that were written over it. A directory has durable names and the
//! changes to them since its last sync. A crash takes, sector by sector and change by change,
//! something that was there at some time: nothing is ordered that was not synced between.
//!
//! Sectors are shared between copies, so copying a whole medium to crash the copy is cheap.

use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tenet_base::Rng;
use tenet_base::disk::FilePath;

/// The grain of tearing.
pub const SECTOR_BYTES: usize = 512;
const SECTOR: u64 = SECTOR_BYTES as u64;

/// Contents of one sector that are remembered between two syncs.
const VERSIONS_MAX: usize = 8;

type Sector = Arc<[u8; SECTOR_BYTES]>;

/// What of the un-synced part survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// A random part.
    Random,
}

impl Survival {
    /// Which of `versions` later states survives; zero is the durable one.
    fn choose(self, versions: usize, rng: &mut dyn Rng) -> usize {
        match self {
            Survival::Nothing => 0,
            Survival::Everything => versions,
            Survival::Random => rng.below(versions as u64 + 1) as usize,
        }
    }
}

/// What went wrong, before it becomes a `DiskError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    NotAFile,
    NotADirectory,
    NotEmpty,
    NoSpace,
    Locked,
}

impl Refusal {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Refusal::NotFound => "no such file or directory",
            Refusal::NotAFile => "is a directory",
            Refusal::NotADirectory => "not a directory",
            Refusal::NotEmpty => "directory not empty",
            Refusal::NoSpace => "no space left on device",
            Refusal::Locked => "locked by another process",
        }
    }
}

type Outcome<T = ()> = Result<T, Refusal>;

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    now: BTreeMap<u64, Sector>,
    len: u64,
    durable: BTreeMap<u64, Sector>,
    durable_len: u64,
    /// The contents that each sector had since the last sync; `None` is zeros.
    unsynced: BTreeMap<u64, Vec<Option<Sector>>>,
    unsynced_lens: Vec<u64>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, u64),
    Unlink(String),
    Rename(String, String, u64),
}

#[derive(Clone, Debug, Default)]
struct Dir {
    now: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    unsynced: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum Node {
    File(File),
    Dir(Dir),
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Medium {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    capacity: u64,
    locks: BTreeSet<u64>,
}

const ROOT: u64 = 0;

impl Medium {
    pub(crate) fn new(capacity: u64) -> Medium {
        let nodes = BTreeMap::from([(ROOT, Node::Dir(Dir::default()))]);
        Medium {
            nodes,
            next: ROOT + 1,
            capacity,
            locks: BTreeSet::new(),
        }
    }

    pub(crate) fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes that are taken: the lengths of all files that have a name, rounded up to sectors.
    pub(crate) fn used_bytes(&self) -> u64 {
        let dirs = self.nodes.values().filter_map(|node| match node {
            Node::Dir(dir) => Some(dir),
            Node::File(_) => None,
        });
        dirs.flat_map(|dir| dir.now.values())
            .map(|id| match &self.nodes[id] {
                Node::File(file) => file.len.next_multiple_of(SECTOR),
                Node::Dir(_) => 0,
            })
            .sum()
    }

    pub(crate) fn create_dir(&mut self, path: &FilePath) -> Outcome {
        match self.find(path) {
            Some(id) => self.dir(id).map(|_| ()),
            None => self.link_new(path, Node::Dir(Dir::default())).map(|_| ()),
        }
    }

    pub(crate) fn create(&mut self, path: &FilePath, reserve: u64) -> Outcome {
        let id = match self.find(path) {
            Some(id) => {
                self.file(id)?.set_len(0);
                id
            }
            None => self.link_new(path, Node::File(File::default()))?,
        };
        if let Err(full) = self.check_space(reserve) {
            self.unlink(path)?;
            return Err(full);
        }
        self.file(id)?.set_len(reserve);
        Ok(())
    }

    pub(crate) fn write(&mut self, path: &FilePath, offset: u64, data: &[u8]) -> Outcome {
        let end = offset + data.len() as u64;
        let (id, len) = self.open(path)?;
        self.check_space(end.saturating_sub(len))?;
        self.file(id)?.write(offset, data);
        Ok(())
    }

    pub(crate) fn set_len(&mut self, path: &FilePath, len: u64) -> Outcome {
        let (id, old) = self.open(path)?;
        self.check_space(len.saturating_sub(old))?;
        self.file(id)?.set_len(len);
        Ok(())
    }

    pub(crate) fn sync_data(&mut self, path: &FilePath) -> Outcome {
        let (id, _) = self.open(path)?;
        self.file(id)?.sync();
        Ok(())
    }

    /// A sync that fails: a part may have become durable, and what did not never will, although
    /// readers go on seeing it until the machine stops.
    pub(crate) fn fail_sync(&mut self, path: &FilePath, rng: &mut dyn Rng) {
        if let Ok((id, _)) = self.open(path)
            && let Ok(file) = self.file(id)
        {
            file.settle(Survival::Random, rng);
        }
    }

    pub(crate) fn sync_dir(&mut self, path: &FilePath) -> Outcome {
        let id = self.find(path).ok_or(Refusal::NotFound)?;
        let dir = self.dir(id)?;
        dir.durable = dir.now.clone();
        dir.unsynced.clear();
        Ok(())
    }

    /// Renames within one directory; the code that runs on this disk needs no more.
    pub(crate) fn rename(&mut self, from: &FilePath, to: &FilePath) -> Outcome {
        assert!(
            from.parent() == to.parent(),
            "{from} would move to another directory, {to}"
        );
        let id = self.find(from).ok_or(Refusal::NotFound)?;
        if let Some(target) = self.find(to) {
            match (&self.nodes[&id], &self.nodes[&target]) {
                (Node::File(_), Node::File(_)) => {}
                (Node::Dir(_), Node::Dir(dir)) if dir.now.is_empty() => {}
                (Node::Dir(_), Node::Dir(_)) => return Err(Refusal::NotEmpty),
                (Node::File(_), Node::Dir(_)) => return Err(Refusal::NotAFile),
                (Node::Dir(_), Node::File(_)) => return Err(Refusal::NotADirectory),
            }
        }
        let parent = self.find(&from.parent()).ok_or(Refusal::NotFound)?;
        let change = NameChange::Rename(from.name().to_owned(), to.name().to_owned(), id);
        self.dir(parent)?.change(change);
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &FilePath) -> Outcome {
        let Some(id) = self.find(path) else {
            return Ok(());
        };
        self.file(id)?;
        self.unlink(path)
    }

    pub(crate) fn remove_dir(&mut self, path: &FilePath) -> Outcome {
        let Some(id) = self.find(path) else {
            return Ok(());
        };
        let names: Vec<String> = self.dir(id)?.now.keys().cloned().collect();
        for name in names {
            let inner = path.join(&name);
            match self.find(&inner).map(|id| &self.nodes[&id]) {
                Some(Node::Dir(_)) => self.remove_dir(&inner)?,
                _ => self.unlink(&inner)?,
            }
        }
        self.unlink(path)
    }

    pub(crate) fn lock(&mut self, path: &FilePath) -> Outcome {
        let (id, _) = self.open(path)?;
        if self.locks.insert(id) {
            Ok(())
        } else {
            Err(Refusal::Locked)
        }
    }

    pub(crate) fn unlock(&mut self, path: &FilePath) {
        if let Some(id) = self.find(path) {
            self.locks.remove(&id);
        }
    }

    /// The process ends: its locks go.
    pub(crate) fn end_process(&mut self) {
        self.locks.clear();
    }

    /// The machine stops: of what was not synced, `survival` decides.
    pub(crate) fn crash(&mut self, survival: Survival, rng: &mut dyn Rng) {
        self.end_process();
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => {
                    file.settle(survival, rng);
                    file.now.clone_from(&file.durable);
                    file.len = file.durable_len;
                }
                Node::Dir(dir) => dir.crash(survival, rng),
            }
        }
        self.collect();
    }

    pub(crate) fn list(&self, path: &FilePath) -> Outcome<Option<Vec<String>>> {
        match self.find(path).map(|id| &self.nodes[&id]) {
            None => Ok(None),
            Some(Node::File(_)) => Err(Refusal::NotADirectory),
            Some(Node::Dir(dir)) => Ok(Some(dir.now.keys().cloned().collect())),
        }
    }

    pub(crate) fn len(&self, path: &FilePath) -> Outcome<Option<u64>> {
        match self.find(path).map(|id| &self.nodes[&id]) {
            None => Ok(None),
            Some(Node::File(file)) => Ok(Some(file.len)),
            Some(Node::Dir(_)) => Err(Refusal::NotAFile),
        }
    }

    pub(crate) fn read(&self, path: &FilePath, offset: u64, len: usize) -> Outcome<Bytes> {
        match self.find(path).map(|id| &self.nodes[&id]) {
            None => Err(Refusal::NotFound),
            Some(Node::File(file)) => Ok(file.read(offset, len)),
            Some(Node::Dir(_)) => Err(Refusal::NotAFile),
        }
    }

    /// A file as it is now.
    pub(super) fn opened(&self, path: &FilePath) -> Outcome<File> {
        match self.find(path).map(|id| &self.nodes[&id]) {
            None => Err(Refusal::NotFound),
            Some(Node::File(file)) => Ok(file.clone()),
            Some(Node::Dir(_)) => Err(Refusal::NotAFile),
        }
    }

    /// Flips one bit of what is on the medium and of what readers see.
    pub(crate) fn flip(&mut self, path: &FilePath, offset: u64, bit: u8) -> Outcome {
        let (id, len) = self.open(path)?;
        assert!(
            offset < len && bit < 8,
            "bit {bit} of byte {offset} is not in {path} of {len}"
        );
        let file = self.file(id)?;
        for sectors in [&mut file.now, &mut file.durable] {
            let mut sector = **sectors.entry(offset / SECTOR).or_insert_with(zero_sector);
            sector[(offset % SECTOR) as usize] ^= 1 << bit;
            sectors.insert(offset / SECTOR, Arc::new(sector));
        }
        Ok(())
    }

    fn find(&self, path: &FilePath) -> Option<u64> {
        let mut id = ROOT;
        for part in path.as_str().split('/').filter(|part| !part.is_empty()) {
            match &self.nodes[&id] {
                Node::Dir(dir) => id = *dir.now.get(part)?,
                Node::File(_) => return None,
            }
        }
        Some(id)
    }

    fn open(&self, path: &FilePath) -> Outcome<(u64, u64)> {
        let id = self.find(path).ok_or(Refusal::NotFound)?;
        match &self.nodes[&id] {
            Node::File(file) => Ok((id, file.len)),
            Node::Dir(_) => Err(Refusal::NotAFile),
        }
    }

    fn file(&mut self, id: u64) -> Outcome<&mut File> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(Refusal::NotAFile),
            None => Err(Refusal::NotFound),
        }
    }

    fn dir(&mut self, id: u64) -> Outcome<&mut Dir> {
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(Refusal::NotADirectory),
            None => Err(Refusal::NotFound),
        }
    }

    fn link_new(&mut self, path: &FilePath, node: Node) -> Outcome<u64> {
        let parent = self.find(&path.parent()).ok_or(Refusal::NotFound)?;
        let id = self.next;
        self.dir(parent)?
            .change(NameChange::Link(path.name().to_owned(), id));
        self.next += 1;
        self.nodes.insert(id, node);
        Ok(id)
    }

    fn unlink(&mut self, path: &FilePath) -> Outcome {
        self.unlock(path);
        let parent = self.find(&path.parent()).ok_or(Refusal::NotFound)?;
        self.dir(parent)?
            .change(NameChange::Unlink(path.name().to_owned()));
        Ok(())
    }

    fn check_space(&self, more: u64) -> Outcome {
        let wanted = self.used_bytes().saturating_add(more);
        // What is reserved already can be written on a full disk.
        if more > 0 && wanted > self.capacity {
            Err(Refusal::NoSpace)
        } else {
            Ok(())
        }
    }

    /// Drops what no name leads to any more.
    fn collect(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            if let Node::Dir(dir) = &self.nodes[&id] {
                open.extend(dir.now.values().filter(|id| reached.insert(**id)));
            }
        }
        self.nodes.retain(|id, _| reached.contains(id));
    }
}

impl Dir {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.now);
        self.unsynced.push(change);
    }

    fn crash(&mut self, survival: Survival, rng: &mut dyn Rng) {
        for change in self.unsynced.drain(..) {
            if survival.choose(1, rng) == 1 {
                change.apply(&mut self.durable);
            }
        }
        self.now.clone_from(&self.durable);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Link(name, id) => {
                names.insert(name.clone(), *id);
            }
            NameChange::Unlink(name) => {
                names.remove(name);
            }
            NameChange::Rename(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
        }
    }
}

fn zero_sector() -> Sector {
    Arc::new([0; SECTOR_BYTES])
}

impl File {
    fn write(&mut self, offset: u64, data: &[u8]) {
        let end = offset + data.len() as u64;
        let mut at = offset;
        while at < end {
            let number = at / SECTOR;
            let part_end = ((number + 1) * SECTOR).min(end);
            let mut sector = self
                .now
                .get(&number)
                .map_or([0; SECTOR_BYTES], |sector| **sector);
            let bytes = &data[(at - offset) as usize..(part_end - offset) as usize];
            sector[(at % SECTOR) as usize..][..bytes.len()].copy_from_slice(bytes);
            self.put(number, Some(Arc::new(sector)));
            at = part_end;
        }
        if end > self.len {
            self.len = end;
            self.unsynced_lens.push(end);
        }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.zero_from(len);
        }
        if len != self.len {
            self.len = len;
            self.unsynced_lens.push(len);
        }
    }

    fn zero_from(&mut self, len: u64) {
        let cut: Vec<u64> = self
            .now
            .range(len / SECTOR..)
            .map(|(number, _)| *number)
            .collect();
        for number in cut {
            let keep = len.saturating_sub(number * SECTOR) as usize;
            let mut sector = [0; SECTOR_BYTES];
            sector[..keep].copy_from_slice(&self.now[&number][..keep]);
            self.put(number, (keep > 0).then(|| Arc::new(sector)));
        }
    }

    fn put(&mut self, number: u64, content: Option<Sector>) {
        let versions = self.unsynced.entry(number).or_default();
        if versions.len() == VERSIONS_MAX {
            versions.remove(0);
        }
        versions.push(content.clone());
        store(&mut self.now, number, content);
    }

    fn sync(&mut self) {
        for number in std::mem::take(&mut self.unsynced).into_keys() {
            store(&mut self.durable, number, self.now.get(&number).cloned());
        }
        self.durable_len = self.len;
        self.unsynced_lens.clear();
    }

    /// Decides what of the un-synced part becomes durable, and forgets the rest.
    fn settle(&mut self, survival: Survival, rng: &mut dyn Rng) {
        for (number, mut versions) in std::mem::take(&mut self.unsynced) {
            if let Some(chosen) = survival.choose(versions.len(), rng).checked_sub(1) {
                store(&mut self.durable, number, versions.swap_remove(chosen));
            }
        }
        let lens = std::mem::take(&mut self.unsynced_lens);
        if let Some(chosen) = survival.choose(lens.len(), rng).checked_sub(1) {
            self.durable_len = lens[chosen];
        }
        cut(&mut self.durable, self.durable_len);
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Bytes {
        let end = self.len.min(offset.saturating_add(len as u64));
        let mut bytes = BytesMut::zeroed(end.saturating_sub(offset) as usize);
        let mut at = offset;
        while at < end {
            let number = at / SECTOR;
            let part_end = ((number + 1) * SECTOR).min(end);
            if let Some(sector) = self.now.get(&number) {
                let from = (at % SECTOR) as usize;
                let part = &sector[from..from + (part_end - at) as usize];
                bytes[(at - offset) as usize..(part_end - offset) as usize].copy_from_slice(part);
            }
            at = part_end;
        }
        bytes.freeze()
    }
}

fn store(sectors: &mut BTreeMap<u64, Sector>, number: u64, content: Option<Sector>) {
    match content {
        Some(sector) => sectors.insert(number, sector),
        None => sectors.remove(&number),
    };
}

/// Drops what lies beyond `len`.
fn cut(sectors: &mut BTreeMap<u64, Sector>, len: u64) {
    sectors.split_off(&len.div_ceil(SECTOR));
    let (number, keep) = (len / SECTOR, (len % SECTOR) as usize);
    if let Some(sector) = sectors.get_mut(&number) {
        let mut bytes = **sector;
        bytes[keep..].fill(0);
        *sector = Arc::new(bytes);
    }
}
