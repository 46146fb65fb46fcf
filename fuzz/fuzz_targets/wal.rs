//! Opens logs made of hostile bytes.
//!
//! A checksum keeps random bytes from getting anywhere, so the input is a list of records that are
//! framed and summed here as etcd does, and then bytes that are written over the result: damage
//! behind the checksum, and records that are whole but make no sense.
//!
//! What is opened must be an error or a log that opens again to the same: never a panic, an
//! endless loop, or memory beyond what the files hold.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tenet_base::crc;
use tenet_base::disk::{DiskError, DiskView, FilePath};

/// A directory of segments in memory.
struct Segments(Vec<(String, Vec<u8>)>);

impl DiskView for Segments {
    fn list(&self, _: &FilePath) -> Result<Option<Vec<String>>, DiskError> {
        Ok(Some(self.0.iter().map(|(name, _)| name.clone()).collect()))
    }

    fn len(&self, path: &FilePath) -> Result<Option<u64>, DiskError> {
        Ok(self.find(path).map(|bytes| bytes.len() as u64))
    }

    fn read_at(&self, path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let bytes = self.find(path).expect("only listed files are read");
        let begin = (offset as usize).min(bytes.len());
        let end = begin.saturating_add(len).min(bytes.len());
        Ok(Bytes::copy_from_slice(&bytes[begin..end]))
    }
}

impl Segments {
    fn find(&self, path: &FilePath) -> Option<&Vec<u8>> {
        self.0
            .iter()
            .find(|(name, _)| name == path.name())
            .map(|(_, bytes)| bytes)
    }
}

/// Takes bytes off the input; zeros behind its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// One record in its frame.
fn frame(kind: u8, data: &[u8], sum: &mut u32, out: &mut Vec<u8>) {
    *sum = crc::extend(*sum, data);
    let mut record = vec![0x08, kind, 0x10];
    varint(u64::from(*sum), &mut record);
    if kind != 4 {
        record.push(0x1a);
        varint(data.len() as u64, &mut record);
        record.extend_from_slice(data);
    }
    let pad = (8 - record.len() % 8) % 8;
    let pad_bits = if pad == 0 {
        0
    } else {
        (0x80 | pad as u64) << 56
    };
    out.extend_from_slice(&(record.len() as u64 | pad_bits).to_le_bytes());
    out.extend_from_slice(&record);
    out.resize(out.len() + pad, 0);
}

fn segments(data: &[u8]) -> Segments {
    let mut input = Input(data);
    let mut files = Vec::new();
    let mut sum = 0;
    for number in 0..=u64::from(input.byte() % 3) {
        let first_index = if number == 0 {
            0
        } else {
            u64::from(input.byte() % 16)
        };
        let mut bytes = Vec::new();
        frame(4, &[], &mut sum, &mut bytes);
        frame(1, &[0x08, 0x01, 0x10, 0x02], &mut sum, &mut bytes);
        if number == 0 {
            frame(5, &[0x08, 0x00, 0x10, 0x00], &mut sum, &mut bytes);
        }
        for _ in 0..input.byte() % 12 {
            let (kind, len) = (1 + input.byte() % 6, usize::from(input.byte() % 40));
            let data = input.bytes(len);
            frame(kind, &data, &mut sum, &mut bytes);
        }
        bytes.resize(bytes.len() + usize::from(input.byte()), 0);
        // Damage after the fact.
        for _ in 0..input.byte() % 4 {
            let at = usize::from(input.byte()) << 8 | usize::from(input.byte());
            let value = input.byte();
            let len = bytes.len();
            bytes[at % len] = value;
        }
        files.push((format!("{number:016x}-{first_index:016x}.wal"), bytes));
    }
    Segments(files)
}

fuzz_target!(|data: &[u8]| {
    let segments = segments(data);
    let dir = FilePath::new("wal");
    #[cfg(feature = "planted")]
    if segments.0[0].1.len() % 64 == 40 {
        let bytes = &segments.0[0].1;
        // SAFETY: none; this is the planted mistake.
        std::hint::black_box(unsafe { *bytes.as_ptr().add(bytes.capacity() + 8) });
    }
    if let Ok(opened) = tenet_wal::open(&segments, &dir, None) {
        let last = opened.entries.last().map_or(0, |entry| entry.index);
        assert!(opened.hard_state.commit <= last.max(opened.start.index.get()));
        let again = tenet_wal::open(&segments, &dir, None).expect("what opened opens again");
        assert_eq!(again.entries, opened.entries);
    }
});
