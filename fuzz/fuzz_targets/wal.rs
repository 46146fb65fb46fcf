//! Opens logs made of hostile bytes.
//!
//! A checksum keeps random bytes from getting anywhere, so the input is a list of records that are
//! framed and summed here as etcd does, and then bytes that are written over the result: damage
//! behind the checksum, and records that are whole but make no sense.
//!
//! What is opened must be an error or a log that opens again to the same: never a panic, an
//! endless loop, or memory beyond what the files hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenet_base::crc;
use tenet_base::disk::FilePath;
use tenet_base::memory_disk::MemoryDisk;
use tenet_fuzz::Input;

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

/// The contents of segments, each under its name.
fn segments(data: &[u8]) -> Vec<(String, Vec<u8>)> {
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
            frame(kind, data, &mut sum, &mut bytes);
        }
        bytes.resize(bytes.len() + usize::from(input.byte()), 0);
        // Damage after the fact.
        for _ in 0..input.byte() % 4 {
            let at = input.pair();
            let value = input.byte();
            let len = bytes.len();
            bytes[at % len] = value;
        }
        files.push((format!("{number:016x}-{first_index:016x}.wal"), bytes));
    }
    files
}

fuzz_target!(|data: &[u8]| {
    let segments = segments(data);
    let dir = FilePath::new("wal");
    #[cfg(feature = "planted")]
    if segments[0].1.len() % 64 == 40 {
        let bytes = &segments[0].1;
        // SAFETY: none; this is the planted mistake.
        std::hint::black_box(unsafe { *bytes.as_ptr().add(bytes.capacity() + 8) });
    }
    let mut disk = MemoryDisk::default();
    for (name, bytes) in segments {
        disk.put(&dir.join(&name), bytes);
    }
    if let Ok(opened) = tenet_wal::open(&disk, &dir, None) {
        let last = opened.entries.last().map_or(0, |entry| entry.index);
        assert!(opened.hard_state.commit <= last.max(opened.start.index.get()));
        let again = tenet_wal::open(&disk, &dir, None).expect("what opened opens again");
        assert_eq!(again.entries, opened.entries);
    }
});
