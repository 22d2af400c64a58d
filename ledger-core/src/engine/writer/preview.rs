//! Dry runs: the decision of a linked batch, at the durable state, in an attempt that is always taken back.

use event_schemas::bounds::EXPIRIES_PER_BLOCK_MAX;
use event_schemas::{Command, Event, Timestamp};

use super::linked::{Batch, refused_with, retried};
use super::{Group, Owed, Stop, Writer};
use crate::decide::next_expiry;
use crate::ports::{Preview, Previews, Verdict};

impl Writer {
    /// Says what commands would get if they were submitted now, linked if there are several.
    pub(super) fn preview(&mut self, commands: &[Command], reply: Owed<Previews>) -> Result<(), Stop> {
        let recorded_at = self.clock.now().map_err(|error| Stop(error.to_string()))?;
        let mut known = Vec::with_capacity(commands.len());
        for command in commands {
            known.push(self.known(command)?);
        }
        let items = if let Some(answers) = retried(commands, known) {
            answers.into_iter().map(Preview::Known).collect()
        } else {
            self.state.attempt();
            let expected = self.expect(commands, recorded_at);
            self.state.take_back();
            expected?
        };
        reply.answer(Ok(Previews { items, at_sequence: self.decided, recorded_at }));
        Ok(())
    }

    /// Decides as a block would that began now.
    fn expect(&mut self, commands: &[Command], recorded_at: Timestamp) -> Result<Vec<Preview>, Stop> {
        for _ in 0..EXPIRIES_PER_BLOCK_MAX {
            let Some(body) = next_expiry(&self.state, recorded_at) else { break };
            self.apply(&Event::engine(body))?;
        }
        let (mut batch, group) = (Batch::behind(self.decided), Group::default());
        let mut items = Vec::with_capacity(commands.len());
        for (place, command) in commands.iter().enumerate() {
            let mark = self.state.mark();
            if let Some(rejection) = self.try_linked(&mut batch, &group, command, recorded_at)? {
                let all = (0..commands.len())
                    .map(|other| if other == place { rejection.clone() } else { refused_with(commands, place) });
                let refused =
                    |rejection| Preview::Expected { verdict: Verdict::Rejected(rejection), accounts: Vec::new() };
                return Ok(all.map(refused).collect());
            }
            let accounts = self.state.touched(mark).into_iter().copied().collect();
            items.push(Preview::Expected { verdict: Verdict::Accepted, accounts });
        }
        Ok(items)
    }
}
