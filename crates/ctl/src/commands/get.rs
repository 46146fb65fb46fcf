//! `get`: reads a key or a range of keys.

use bytes::Bytes;
use tenet_cli::flag::{Flag, Kind};
use tenet_cli::settings::Settings;
use tenet_client::KeyRange;
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::etcdserverpb::range_request::{SortOrder, SortTarget};

use crate::display::{Answer, Format};
use crate::failure::{Exit, Failure};
use crate::flags::{CONSISTENCY, flag};
use crate::invocation::Invocation;
use crate::tree::{Command, Run, Section};

flag!(
    ORDER,
    "order",
    Text,
    "",
    "Order of the results: ASCEND (as without it) or DESCEND."
);
flag!(
    SORT_BY,
    "sort-by",
    Text,
    "",
    "What to sort by: CREATE, KEY, MODIFY, VALUE or VERSION."
);
flag!(
    LIMIT,
    "limit",
    Int64,
    "0",
    "Largest number of results; 0 means all."
);
flag!(
    PREFIX,
    "prefix",
    Bool,
    "false",
    "Get the keys that begin with the given one."
);
flag!(
    FROM_KEY,
    "from-key",
    Bool,
    "false",
    "Get the keys that are not before the given one."
);
flag!(
    REV,
    "rev",
    Int64,
    "0",
    "Revision to read at; 0 means the newest."
);
flag!(
    KEYS_ONLY,
    "keys-only",
    Bool,
    "false",
    "Leave out the values."
);
flag!(
    COUNT_ONLY,
    "count-only",
    Bool,
    "false",
    "Leave out keys and values; for -w fields."
);
flag!(
    PRINT_VALUE_ONLY,
    "print-value-only",
    Bool,
    "false",
    "Leave out the keys; for -w simple."
);
flag!(
    MIN_CREATE_REV,
    "min-create-rev",
    Int64,
    "0",
    "Leave out keys created before this."
);
flag!(
    MAX_CREATE_REV,
    "max-create-rev",
    Int64,
    "0",
    "Leave out keys created after this."
);
flag!(
    MIN_MOD_REV,
    "min-mod-rev",
    Int64,
    "0",
    "Leave out keys changed before this."
);
flag!(
    MAX_MOD_REV,
    "max-mod-rev",
    Int64,
    "0",
    "Leave out keys changed after this."
);
flag!(
    STREAM,
    "stream",
    Bool,
    "false",
    "Read in parts, for ranges that are large."
);

static FLAGS: &[&Flag] = &[
    &CONSISTENCY,
    &ORDER,
    &SORT_BY,
    &LIMIT,
    &PREFIX,
    &FROM_KEY,
    &REV,
    &KEYS_ONLY,
    &COUNT_ONLY,
    &PRINT_VALUE_ONLY,
    &MIN_CREATE_REV,
    &MAX_CREATE_REV,
    &MIN_MOD_REV,
    &MAX_MOD_REV,
    &STREAM,
];

pub(super) static COMMAND: Command = Command {
    flags: FLAGS,
    run: Run::Now(run),
    ..Command::new(
        "get",
        "[options] <key> [range_end]",
        "Reads a key or a range of keys",
        Some(Section::KeyValue),
    )
};

fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    let request = request(&invocation.settings, &invocation.args)?;
    let deadline = invocation.deadline();
    let mut session = invocation.session()?;
    let settings = &invocation.settings;
    let client = session.client()?.with_deadline(deadline);
    let answer = session.wait(async {
        if settings.bool(&STREAM) {
            client.range_stream(request).await?.collect().await
        } else {
            client.range(request).await
        }
    })?;
    if settings.bool(&COUNT_ONLY) && session.display.format != Format::Fields {
        let text = "--count-only is only for `--write-out=fields`";
        return Err(Failure::new(Exit::BadArgs, text));
    }
    if settings.bool(&PRINT_VALUE_ONLY) {
        if session.display.format != Format::Simple {
            let text = "print-value-only is only for `--write-out=simple`";
            return Err(Failure::new(Exit::BadArgs, text));
        }
        session.display.value_only = true;
    }
    session.show(&Answer::Range(&answer))
}

/// The request that flags and arguments describe.
pub(super) fn request(settings: &Settings, args: &[Vec<u8>]) -> Result<RangeRequest, Failure> {
    let bad_args = |text: &str| Failure::new(Exit::BadArgs, text);
    let Some(key) = args.first() else {
        return Err(bad_args(
            "get command needs one argument as key and an optional argument as range_end",
        ));
    };
    if settings.bool(&PREFIX) && settings.bool(&FROM_KEY) {
        return Err(bad_args(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one",
        ));
    }
    if settings.bool(&KEYS_ONLY) && settings.bool(&COUNT_ONLY) {
        return Err(bad_args(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
        ));
    }
    let consistency = settings.text(&CONSISTENCY);
    let serializable = is_serializable(consistency, consistency)?;
    let range = range(
        key,
        args.get(1),
        settings.bool(&PREFIX),
        settings.bool(&FROM_KEY),
    )?;
    let (order, target) = sorting(settings)?;
    let [min_create, max_create] = bounds(settings, &MIN_CREATE_REV, &MAX_CREATE_REV, "Create")?;
    let [min_mod, max_mod] = bounds(settings, &MIN_MOD_REV, &MAX_MOD_REV, "Mod")?;
    Ok(RangeRequest {
        limit: settings.int(&LIMIT),
        revision: settings.int(&REV).max(0),
        sort_order: order.into(),
        sort_target: target.into(),
        serializable,
        keys_only: settings.bool(&KEYS_ONLY),
        count_only: settings.bool(&COUNT_ONLY),
        min_create_revision: min_create,
        max_create_revision: max_create,
        min_mod_revision: min_mod,
        max_mod_revision: max_mod,
        ..RangeRequest::from(range)
    })
}

/// Whether `--consistency` asks for a serializable read; `named` is what a refusal names.
pub(super) fn is_serializable(given: &str, named: &str) -> Result<bool, Failure> {
    match given {
        "l" => Ok(false),
        "s" => Ok(true),
        _ => {
            let text = format!("unknown consistency flag {}", tenet_cli::go::quote(named));
            Err(Failure::new(Exit::BadFeature, text))
        }
    }
}

/// The range that a key, an end and two flags describe, for reading and for deleting.
pub(super) fn range(
    key: &[u8],
    end: Option<&Vec<u8>>,
    prefix: bool,
    from_key: bool,
) -> Result<KeyRange, Failure> {
    let key = Bytes::copy_from_slice(key);
    match end {
        Some(_) if prefix || from_key => Err(Failure::new(
            Exit::BadArgs,
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        )),
        Some(end) => Ok(KeyRange::between(key, Bytes::copy_from_slice(end))),
        None if prefix => Ok(KeyRange::prefix(key)),
        None if from_key => Ok(KeyRange::from(key)),
        None => Ok(KeyRange::key(key)),
    }
}

fn sorting(settings: &Settings) -> Result<(SortOrder, SortTarget), Failure> {
    let bad = |what: &str, given: &str| {
        Failure::new(Exit::BadFeature, format!("bad sort {what} {given}"))
    };
    let given = settings.text(&ORDER);
    let order = match &given.to_uppercase()[..] {
        "" => SortOrder::None,
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        _ => return Err(bad("order", given)),
    };
    let given = settings.text(&SORT_BY);
    let target = match &given.to_uppercase()[..] {
        "" | "KEY" => SortTarget::Key,
        "CREATE" => SortTarget::Create,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(bad("target", given)),
    };
    // Keys come in ascending order anyway; asking for it would make the server read all of them.
    match (order, target) {
        (SortOrder::Ascend, SortTarget::Key) => Ok((SortOrder::None, target)),
        other => Ok(other),
    }
}

fn bounds(settings: &Settings, min: &Flag, max: &Flag, what: &str) -> Result<[i64; 2], Failure> {
    let (min, max) = (settings.int(min), settings.int(max));
    if max > 0 && min > max {
        let text = format!("getMin{what}Rev(={min}) > getMax{what}Rev(={max})");
        return Err(Failure::new(Exit::BadFeature, text));
    }
    Ok([min.max(0), max.max(0)])
}
