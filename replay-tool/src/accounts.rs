//! The accounts of a journal: what each was opened as, by id and in the order of opening. About 200 bytes an account.

use std::collections::HashMap;

use event_schemas::command::OpenAccount;
use event_schemas::{AccountId, BookId, Event, EventBody};

use crate::outcome::Failure;

/// Accounts seen so far.
#[derive(Debug, Default)]
pub struct Accounts {
    places: HashMap<AccountId, u32>,
    opened: Vec<OpenAccount>,
}

impl Accounts {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes an account if the event opens one.
    pub fn see(&mut self, event: &Event) {
        if let EventBody::AccountOpened(open) = &event.body {
            let place = u32::try_from(self.opened.len()).unwrap_or(u32::MAX);
            self.places.insert(open.account, place);
            self.opened.push(open.clone());
        }
    }

    /// The place of an account in the order of opening.
    pub fn place(&self, id: AccountId) -> Option<usize> {
        self.places.get(&id).and_then(|place| usize::try_from(*place).ok())
    }

    /// What an account was opened as.
    pub fn get(&self, id: AccountId) -> Option<&OpenAccount> {
        self.opened.get(self.place(id)?)
    }

    /// All of them, in the order of opening.
    pub fn opened(&self) -> &[OpenAccount] {
        &self.opened
    }

    /// The place of an account that a posting names.
    pub(crate) fn known(&self, id: AccountId) -> Result<usize, Failure> {
        self.place(id).ok_or_else(|| Failure::Damaged(format!("account {id} is posted to and was never opened")))
    }

    /// What people call an account: its code, or its id if it has none or is unknown.
    pub fn name(&self, id: AccountId) -> String {
        match self.get(id) {
            Some(open) => name_of(open),
            None => id.to_string(),
        }
    }
}

/// The code of an account, or its id if it has none.
pub fn name_of(open: &OpenAccount) -> String {
    if open.code.is_empty() { open.account.to_string() } else { open.code.to_string() }
}

/// The id that a text means: a UUID, else the account code.
pub fn resolve(book: BookId, text: &str) -> AccountId {
    text.parse().unwrap_or_else(|_| AccountId::from_code(book, text))
}
