//! Elections: asking for votes, giving them, counting them (Raft 5.2 and 5.4.1, thesis 9.6).
//!
//! Invariants: one vote a term; a vote goes only to a log that is up to date; answers are released
//! when the vote is durable, the candidate's own vote included. Learners vote when they are asked:
//! whoever asks may know of their promotion before they do.

use bytes::Bytes;
use tenet_base::{MemberId, Term};
use tenet_proto::raftpb::{Message, MessageType};

use crate::bugs::KnownBug;
use crate::config::ReadOnly;
use crate::log::EntryId;
use crate::marks::{Mark, mark};
use crate::quorum::VoteResult;
use crate::raft::{Raft, Role};
use crate::store::LogStore;

/// Marks vote requests of a member that the leader itself has asked to take over: they are heard
/// even while that leader is in office.
pub(crate) const TRANSFER_CONTEXT: &[u8] = b"CampaignTransfer";

/// What a campaign asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Campaign {
    /// Whether the others would vote.
    PreElection,
    /// For their votes.
    Election,
    /// For their votes, at the leader's wish.
    Transfer,
}

impl<S: LogStore> Raft<S> {
    /// Campaigns now, if this member can. With lease-based reads not while it hears from a leader,
    /// which counts on that.
    pub fn campaign(&mut self) {
        if self.promised_ticks == 0 {
            self.start_campaign();
        }
    }

    pub(crate) fn start_campaign(&mut self) {
        let pre_vote = self.config.pre_vote;
        self.start(if pre_vote {
            Campaign::PreElection
        } else {
            Campaign::Election
        });
    }

    pub(crate) fn start(&mut self, campaign: Campaign) {
        if self.role() == Role::Leader || !self.can_campaign() {
            return;
        }
        // Its configuration may be about to change, and with it what a majority is.
        if self.log.has_unapplied_conf_change() {
            mark(Mark::CampaignAwaitsChange);
            return;
        }
        self.ask(campaign);
    }

    fn ask(&mut self, campaign: Campaign) {
        let (request, term) = if campaign == Campaign::PreElection {
            self.become_pre_candidate();
            (MessageType::PreVote, self.term().next())
        } else {
            self.become_candidate();
            (MessageType::Vote, self.term())
        };
        let context = match campaign {
            Campaign::Transfer => Bytes::from_static(TRANSFER_CONTEXT),
            _ => Bytes::new(),
        };
        let last = self.log.last_id();
        for id in self.tracker.configuration.voters.ids().ids() {
            if self.is_self(*id) {
                self.answer(request, *id, term, true);
                continue;
            }
            let message = Message {
                term: term.get(),
                log_term: last.term.get(),
                index: last.index.get(),
                context: context.clone(),
                ..Message::default()
            };
            self.send(request, *id, message);
        }
    }

    /// A leader is heard from, and may count on this member for an election timeout.
    pub(crate) fn promise(&mut self) {
        if self.config.read_only == ReadOnly::LeaseBased {
            self.promised_ticks = self.config.election_ticks;
        }
    }

    /// Whether a request for votes goes unheard: a leader is in office, and whoever asks has lost
    /// touch with it.
    pub(crate) fn is_shielded(&self, request: &Message) -> bool {
        if request.context == TRANSFER_CONTEXT {
            return false;
        }
        let heard = self.election_elapsed < self.config.election_ticks;
        let leader = self.config.check_quorum && !self.leader().is_zero() && heard;
        self.promised_ticks > 0 || (leader && Term(request.term) > self.term())
    }

    /// A candidate asks.
    pub(crate) fn on_vote_request(&mut self, request: MessageType, message: &Message) {
        let (from, term) = (MemberId(message.from), Term(message.term));
        let pre_vote = request == MessageType::PreVote;
        let free = self.vote().is_zero() && self.leader().is_zero();
        let may = self.vote() == from || free || (pre_vote && term > self.term());
        let last = EntryId {
            term: Term(message.log_term),
            index: message.index.into(),
        };
        let complete =
            self.log.is_up_to_date(last) || self.config.has_bug(KnownBug::VoteForShorterLog);
        if !may || !complete {
            mark(Mark::VoteRefused);
            return self.answer(request, from, self.term(), false);
        }
        // In the term of the question: a pre-candidate asks for a term that neither is in yet.
        self.answer(request, from, term, true);
        if !pre_vote {
            self.election_elapsed = 0;
            self.cast_vote(from);
        }
    }

    pub(crate) fn answer(&mut self, request: MessageType, to: MemberId, term: Term, yes: bool) {
        let answer = match request {
            MessageType::PreVote => MessageType::PreVoteResp,
            _ => MessageType::VoteResp,
        };
        let message = Message {
            term: term.get(),
            reject: !yes,
            ..Message::default()
        };
        self.send(answer, to, message);
    }

    /// A vote comes in.
    pub(crate) fn on_vote(&mut self, answer: MessageType, message: &Message) {
        let awaited = match self.role() {
            Role::PreCandidate => MessageType::PreVoteResp,
            Role::Candidate => MessageType::VoteResp,
            Role::Follower | Role::Leader => return,
        };
        if answer != awaited && !self.config.has_bug(KnownBug::PreVoteCounted) {
            return;
        }
        self.tracker
            .record_vote(MemberId(message.from), !message.reject);
        match self.tracker.tally() {
            VoteResult::Pending => {}
            VoteResult::Won if self.role() == Role::PreCandidate => self.ask(Campaign::Election),
            VoteResult::Won => {
                self.become_leader();
                self.broadcast_append();
            }
            VoteResult::Lost => {
                mark(match self.role() {
                    Role::PreCandidate => Mark::PreElectionLost,
                    _ => Mark::ElectionLost,
                });
                self.become_follower(self.term(), MemberId::ZERO);
            }
        }
    }
}
