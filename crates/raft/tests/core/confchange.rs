//! The `confchange` transcripts: configurations that follow each other.

use tenet_base::Index;
use tenet_proto::raftpb::{ConfChangeSingle, ConfChangeType};
use tenet_raft::confchange::Changer;
use tenet_raft::tracker::{Configuration, ProgressMap};

use crate::datafile::Directive;

/// The configuration that a file has led to so far.
#[derive(Default)]
pub(crate) struct State {
    configuration: Configuration,
    progress: ProgressMap,
    commands: u64,
}

impl State {
    pub(crate) fn run(&mut self, directive: &Directive) -> String {
        let changer = Changer {
            configuration: &self.configuration,
            progress: &self.progress,
            // Each command appends an entry, so that it shows when a member was added.
            last_index: Index(self.commands),
            max_inflight_messages: 10,
            max_inflight_bytes: u64::MAX,
        };
        self.commands += 1;
        let changes = parse_changes(&directive.input);
        let changed = match directive.command.as_str() {
            "simple" => changer.simple(&changes),
            "enter-joint" => {
                changer.enter_joint(directive.value("autoleave").unwrap_or(false), &changes)
            }
            "leave-joint" => {
                assert!(changes.is_empty(), "leave-joint takes no changes");
                changer.leave_joint()
            }
            other => panic!("unknown command {other}"),
        };
        match changed {
            Ok((configuration, progress)) => {
                (self.configuration, self.progress) = (configuration, progress);
                format!("{}\n{}", self.configuration, self.progress)
            }
            Err(error) => format!("{error}\n"),
        }
    }
}

/// `v1 l2 r3 u4`: make 1 a voter, 2 a learner, remove 3, update 4.
pub(crate) fn parse_changes(text: &str) -> Vec<ConfChangeSingle> {
    let parse = |token: &str| {
        let (letter, id) = token.split_at(1);
        let change_type = match letter {
            "v" => ConfChangeType::AddNode,
            "l" => ConfChangeType::AddLearnerNode,
            "r" => ConfChangeType::RemoveNode,
            "u" => ConfChangeType::UpdateNode,
            _ => panic!("unknown change {token}"),
        };
        ConfChangeSingle {
            change_type: change_type as i32,
            node_id: id.parse().expect("a member id"),
        }
    };
    text.split_whitespace().map(parse).collect()
}
