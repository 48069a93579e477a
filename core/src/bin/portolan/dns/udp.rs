//! One thread that answers UDP queries.

use super::forward::{Asker, Question};
use super::slow::Handle;
use portolan::dns::{Outcome, Reader, Refusal, Transport, decline};
use portolan::driver::{AnswerSender, Datagrams, Peer};
use std::sync::Weak;

/// A socket and what answers there.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) reader: Reader,
    pub(super) socket: Datagrams,
    /// Who takes questions that are not ours.
    pub(super) onward: Option<Handle>,
}

impl Answers {
    /// Answers as long as `alive` is there.
    pub(super) fn until_gone(mut self, alive: &Weak<()>) {
        let sender = self.socket.sender();
        let (reader, onward) = (&mut self.reader, self.onward.as_ref());
        while alive.strong_count() > 0 {
            let served = self
                .socket
                .serve(|query, peer, reply| answer(reader, onward, &sender, query, peer, reply));
            if let Err(error) = served {
                tracing::warn!("DNS: {error}");
                std::thread::sleep(super::PATIENCE);
            }
        }
    }
}

fn answer(
    reader: &mut Reader,
    onward: Option<&Handle>,
    sender: &AnswerSender,
    query: &[u8],
    peer: &Peer,
    reply: &mut [u8],
) -> usize {
    let (length, so_far) = match (reader.answer(query, Transport::Udp, reply), onward) {
        (Outcome::Reply(length), _) | (Outcome::Onward(length), None) => return length,
        (Outcome::Silent, _) => return 0,
        (Outcome::NotOurs, None) => return decline(query, Refusal::Refused, reply),
        (Outcome::Onward(length), Some(onward)) => (length, Some(onward)),
        (Outcome::NotOurs, Some(onward)) => (0, Some(onward)),
    };
    let taken = so_far.is_some_and(|onward| {
        onward.ask(Question {
            query: query.to_vec(),
            chain: reply.get(..length).unwrap_or_default().to_vec(),
            asker: Asker::Udp(sender.clone(), peer.clone()),
        })
    });
    if taken {
        0
    } else {
        decline(query, Refusal::ServerFailure, reply)
    }
}
