//! Dry runs: the decision of commands, linked or each on its own, at the durable state, in an attempt that is always taken back.

use event_schemas::bounds::EXPIRIES_PER_BLOCK_MAX;
use event_schemas::event::CommandRejected;
use event_schemas::{Cause, Command, Event, EventBody, Rejection, Timestamp};

use super::linked::{Batch, refused_with, retried};
use super::{Group, Owed, Stop, Writer};
use crate::decide::next_expiry;
use crate::ports::{Answer, Preview, Previews, Verdict};

const fn refused(rejection: Rejection) -> Preview {
    Preview::Expected { verdict: Verdict::Rejected(rejection), accounts: Vec::new(), events: Vec::new() }
}

impl Writer {
    /// Says what commands would get if they were submitted now.
    pub(super) fn preview(&mut self, commands: &[Command], linked: bool, reply: Owed<Previews>) -> Result<(), Stop> {
        let recorded_at = self.clock.now().map_err(|error| Stop(error.to_string()))?;
        let mut known = Vec::with_capacity(commands.len());
        for command in commands {
            known.push(self.known(command)?);
        }
        let retried = if linked { retried(commands, known.clone()) } else { None };
        let items = if let Some(answers) = retried {
            answers.into_iter().map(Preview::Known).collect()
        } else {
            self.state.attempt();
            let expected = self.expect(commands, known, linked, recorded_at);
            self.state.take_back();
            expected?
        };
        reply.answer(Ok(Previews { items, at_sequence: self.decided, recorded_at }));
        Ok(())
    }

    /// Decides as a block would that began now.
    fn expect(
        &mut self,
        commands: &[Command],
        known: Vec<Option<Answer>>,
        linked: bool,
        recorded_at: Timestamp,
    ) -> Result<Vec<Preview>, Stop> {
        for _ in 0..EXPIRIES_PER_BLOCK_MAX {
            let Some(expiry) = next_expiry(&self.state, recorded_at) else { break };
            for body in expiry {
                self.apply(&Event::engine(body))?;
            }
        }
        let (mut batch, group) = (Batch::behind(self.decided), Group::default());
        let mut items = Vec::with_capacity(commands.len());
        for (place, (command, known)) in commands.iter().zip(known).enumerate() {
            if let Some(answer) = known {
                items.push(Preview::Known(answer));
                continue;
            }
            let (mark, before) = (self.state.mark(), batch.events().len());
            let Some(rejection) = self.try_linked(&mut batch, &group, command, recorded_at)? else {
                let accounts = self.state.touched(mark).into_iter().copied().collect();
                let events = batch.events().iter().skip(before).map(|event| event.body.clone()).collect();
                items.push(Preview::Expected { verdict: Verdict::Accepted, accounts, events });
                continue;
            };
            if linked {
                let all = (0..commands.len())
                    .map(|other| if other == place { rejection.clone() } else { refused_with(commands, place) });
                return Ok(all.map(refused).collect());
            }
            // One that comes after it may name it.
            let rejected = CommandRejected { command: command.body.clone(), rejection: rejection.clone() };
            let cause = Cause::Verdict { command: command.id, actor: command.actor };
            batch.push(Event { cause, body: EventBody::CommandRejected(rejected) });
            items.push(refused(rejection));
        }
        Ok(items)
    }
}
