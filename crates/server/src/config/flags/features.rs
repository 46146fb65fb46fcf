//! Flags that were experiments once, and those that give up safety.

use tenet_cli::flag::{Flag, Kind};

static CORRUPT_CHECK_TIME: Flag = Flag::new(
    "corrupt-check-time",
    Kind::Duration,
    "0s",
    "Time between two comparisons of the leader's data with the other members'. 0 is off.",
)
.in_file()
.refused("members are not compared with each other yet");

/// Time between comparisons of compaction hashes.
pub static COMPACT_HASH_CHECK_TIME: Flag = Flag::new(
    "compact-hash-check-time",
    Kind::Duration,
    "1m0s",
    "Time between two comparisons of compaction hashes.",
)
.in_file()
.no_effect("only has a meaning beside the feature gate CompactHashCheck, which is refused");

static COMPACTION_BATCH_LIMIT: Flag = Flag::new(
    "compaction-batch-limit",
    Kind::Int,
    "0",
    "Most revisions that compaction deletes before it rests.",
)
.in_file()
.no_effect("compaction sets its own pace");
static COMPACTION_SLEEP_INTERVAL: Flag = Flag::new(
    "compaction-sleep-interval",
    Kind::Duration,
    "0s",
    "Rest of compaction between two batches.",
)
.in_file()
.no_effect("compaction sets its own pace");
/// Silence of a watch.
pub static WATCH_PROGRESS_NOTIFY_INTERVAL: Flag = Flag::new(
    "watch-progress-notify-interval",
    Kind::Duration,
    "0s",
    "Time between two progress messages to a silent watcher. 0 means 10m.",
)
.in_file();

/// Slow applies.
pub static WARNING_APPLY_DURATION: Flag = Flag::new(
    "warning-apply-duration",
    Kind::Duration,
    "100ms",
    "Entries that take longer to apply are logged.",
)
.in_file();

static BOOTSTRAP_DEFRAG_THRESHOLD_MEGABYTES: Flag = Flag::new(
    "bootstrap-defrag-threshold-megabytes",
    Kind::Uint,
    "0",
    "Defragment at start if it frees as many megabytes. 0 is off.",
)
.in_file()
.no_effect("the store gives back space by itself");
static MAX_LEARNERS: Flag = Flag::new(
    "max-learners",
    Kind::Int,
    "1",
    "Most learners in the cluster.",
)
.in_file()
.refused("members cannot be added yet");
static DOWNGRADE_CHECK_TIME: Flag = Flag::new(
    "downgrade-check-time",
    Kind::Duration,
    "5s",
    "Time between two checks whether a downgrade is done. 0 is off.",
)
.in_file()
.refused("downgrades do not exist yet");

/// The flags of this group.
pub static FLAGS: &[&Flag] = &[
    &CORRUPT_CHECK_TIME,
    &COMPACT_HASH_CHECK_TIME,
    &COMPACTION_BATCH_LIMIT,
    &COMPACTION_SLEEP_INTERVAL,
    &WATCH_PROGRESS_NOTIFY_INTERVAL,
    &WARNING_APPLY_DURATION,
    &BOOTSTRAP_DEFRAG_THRESHOLD_MEGABYTES,
    &MAX_LEARNERS,
    &DOWNGRADE_CHECK_TIME,
];

static FORCE_NEW_CLUSTER: Flag = Flag::new(
    "force-new-cluster",
    Kind::Bool,
    "false",
    "Keep the data, forget all other members.",
)
.in_file()
.refused("there is only ever one member yet");

/// Do not wait for the disk.
pub static UNSAFE_NO_FSYNC: Flag = Flag::new(
    "unsafe-no-fsync",
    Kind::Bool,
    "false",
    "Do not wait for the disk. A power failure loses acknowledged writes.",
)
.in_file();

/// The flags of this group.
pub static UNSAFE: &[&Flag] = &[&FORCE_NEW_CLUSTER, &UNSAFE_NO_FSYNC];
