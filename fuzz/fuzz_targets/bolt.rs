//! Reads and checks bbolt files made of hostile bytes.
//!
//! Checksums guard only the meta pages, so nearly every byte counts. Random bytes would not get
//! past those, so the input is a small file that our writer makes and a list of bytes that are
//! written over it, the checksums of the meta pages put right again if it says so. What a file
//! holds, if it is sound, must be what the writer is able to write and read back.

#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tenet_bolt::{Content, Db, Planner, Writer};
use tenet_fuzz::Input;

const PAGE: usize = 4096;

type Buckets = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Buckets whose shape the input decides: many small entries, few large ones, none.
fn buckets(input: &mut Input<'_>) -> Buckets {
    let mut buckets = Buckets::new();
    for bucket in 0..1 + input.byte() % 4 {
        let (entries, key_len, value_len) = (input.byte(), input.byte(), input.pair() % 6_000);
        let entry = |at: u8| {
            let mut key = vec![at; 1 + usize::from(key_len)];
            key[0] = at;
            (key, vec![at; value_len >> (at % 8)])
        };
        buckets.insert(vec![b'a' + bucket], (0..entries % 64).map(entry).collect());
    }
    buckets
}

fn write(buckets: &Buckets) -> Vec<u8> {
    let mut planner = Planner::new();
    for (name, entries) in buckets {
        planner.bucket(name);
        for (key, value) in entries {
            planner.entry(key, value.len()).expect("keys in order");
        }
    }
    let plan = planner.finish().expect("names in order");
    let mut writer = Writer::new(plan);
    for (name, entries) in buckets {
        writer.bucket(name).expect("as planned");
        for (key, value) in entries {
            writer.entry(key, value).expect("as planned");
        }
    }
    let file = writer.finish().expect("as planned");
    assert_eq!(file.len() as u64, plan.len_bytes());
    file.to_vec()
}

/// Puts the checksum of a meta page right.
fn sum(page: &mut [u8]) {
    let (body, rest) = page[16..].split_at_mut(56);
    let sum = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    rest[..8].copy_from_slice(&sum.to_le_bytes());
}

/// What a sound file holds; `None` if it is not sound, or has buckets where values are due.
fn read(db: &Db<Bytes>) -> Option<Buckets> {
    let mut buckets = Buckets::new();
    for bucket in db.walk(&db.root()) {
        let bucket = bucket.ok()?;
        let Content::Bucket(content) = &bucket.content else {
            return None;
        };
        let entries = buckets.entry(bucket.key.to_vec()).or_default();
        for entry in db.walk(content) {
            let entry = entry.ok()?;
            let Content::Value(value) = entry.content else {
                return None;
            };
            entries.insert(entry.key.to_vec(), value.to_vec());
        }
    }
    Some(buckets)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let buckets = buckets(&mut input);
    let mut file = write(&buckets);
    let fix_sums = input.byte() % 2 == 0;
    let mut changed = false;
    for _ in 0..64 {
        if input.0.is_empty() {
            break;
        }
        let page = input.pair() % (file.len() / PAGE);
        // What matters most stands at the beginnings of pages.
        let within = match input.byte() % 4 {
            0 => input.pair() % PAGE,
            _ => usize::from(input.byte()),
        };
        let byte = &mut file[page * PAGE + within];
        let before = std::mem::replace(byte, input.byte());
        changed |= before != *byte;
    }
    if fix_sums {
        for page in file.chunks_mut(PAGE).take(2) {
            sum(page);
        }
    }
    #[cfg(feature = "planted")]
    if file[PAGE * 3 + 8] == 0x40 {
        let beyond = data.as_ptr().wrapping_add(data.len() + 64);
        // SAFETY: none. The read beyond the input is what a run of the planted target must find.
        std::hint::black_box(unsafe { beyond.read() });
    }
    let Ok(db) = Db::open(Bytes::from(file)) else {
        assert!(changed, "a file as it was written is refused");
        return;
    };
    let errors = db.check();
    let found = read(&db);
    if !changed {
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(found.as_ref(), Some(&buckets));
    }
    if let Some(found) = found.filter(|_| errors.is_empty()) {
        let again = Db::open(Bytes::from(write(&found))).expect("just written");
        assert_eq!(read(&again), Some(found));
    }
});
