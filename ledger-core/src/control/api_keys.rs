//! Keys of the API. The aggregate is who holds them: keys come and go, the holder stays, and so does the principal that acts.
//!
//! Asking twice for what is so already records nothing: a key that is issued again with the same hash, a revocation of what is
//! void. So an import that was interrupted, or a command whose answer was lost, may simply be sent again.

use std::collections::BTreeMap;

use event_schemas::bounds::{KEYS_PER_HOLDER_MAX, OWNER_MAX_BYTES, TEXT_MAX_BYTES};
use event_schemas::control::{ApiKeyIssued, ApiKeyRevoked, ApiKeyScopesSet, Holder, Scope, Scopes};
use event_schemas::{ControlFact, Digest, Timestamp};

use super::Decider;

/// What can happen to keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyEvent {
    /// One was issued.
    Issued(ApiKeyIssued),
    /// One was made void.
    Revoked(ApiKeyRevoked),
    /// The scopes of one were changed.
    ScopesSet(ApiKeyScopesSet),
}

impl From<KeyEvent> for ControlFact {
    fn from(event: KeyEvent) -> Self {
        match event {
            KeyEvent::Issued(issued) => Self::ApiKeyIssued(issued),
            KeyEvent::Revoked(revoked) => Self::ApiKeyRevoked(revoked),
            KeyEvent::ScopesSet(set) => Self::ApiKeyScopesSet(set),
        }
    }
}

impl TryFrom<ControlFact> for KeyEvent {
    type Error = &'static str;

    fn try_from(fact: ControlFact) -> Result<Self, Self::Error> {
        match fact {
            ControlFact::ApiKeyIssued(issued) => Ok(Self::Issued(issued)),
            ControlFact::ApiKeyRevoked(revoked) => Ok(Self::Revoked(revoked)),
            ControlFact::ApiKeyScopesSet(set) => Ok(Self::ScopesSet(set)),
            ControlFact::ProviderSet(_) | ControlFact::PaymentRequested(_) | ControlFact::PaymentStepped(_) => {
                Err("not about keys")
            }
        }
    }
}

/// Who does something, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Who.
    pub actor: Box<str>,
    /// When.
    pub at: Timestamp,
    /// Why; may be empty.
    pub reason: Box<str>,
}

/// A key as it is made outside: its secret stays there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeKey {
    /// Its id.
    pub id: Box<str>,
    /// BLAKE3 of its text.
    pub hash: Digest,
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCommand {
    /// Issues a key to the holder.
    Issue {
        /// The holder: the one that the aggregate is about.
        holder: Holder,
        /// The key.
        key: MadeKey,
        /// What it may be used for.
        scopes: Scopes,
        /// Who and when; the reason is the key's note.
        act: Act,
    },
    /// Issues a key in the place of another, with the same scopes.
    Rotate {
        /// The key to be replaced.
        key: Box<str>,
        /// The new one.
        successor: MadeKey,
        /// Leave the old key in force until it is revoked, so that programs can change over.
        keep: bool,
        /// Who, when and why.
        act: Act,
    },
    /// Makes a key void, for good.
    Revoke {
        /// Which.
        key: Box<str>,
        /// Who, when and why.
        act: Act,
    },
    /// Changes what a key may be used for.
    SetScopes {
        /// Which.
        key: Box<str>,
        /// What for.
        scopes: Scopes,
        /// Who, when and why.
        act: Act,
    },
}

/// Why a command about keys is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRejection {
    /// A name is empty, too long, or has control characters.
    #[error("the {0} must have 1 to {OWNER_MAX_BYTES} bytes without control characters")]
    Name(&'static str),
    /// A free text is too long.
    #[error("the {0} must have at most {TEXT_MAX_BYTES} bytes")]
    Text(&'static str),
    /// A key that could be used for nothing.
    #[error("a key needs a scope: read, write or admin")]
    NoScope,
    /// A customer would be an administrator.
    #[error("a customer's key can't have the scope admin")]
    CustomerIsNoAdmin,
    /// The holder has as many keys in force as one may have.
    #[error("the holder has {KEYS_PER_HOLDER_MAX} keys in force: revoke some first")]
    TooManyKeys,
    /// The id is taken by a key with another secret.
    #[error("two keys got the same id {0:?}: try again")]
    IdTaken(Box<str>),
    /// There is no key of this id.
    #[error("there is no key {0:?}")]
    Unknown(Box<str>),
    /// The key is void.
    #[error("the key {0:?} is void: issue a new one")]
    Void(Box<str>),
    /// The aggregate is that of another holder.
    #[error("these are the keys of another holder")]
    OtherHolder,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    hash: Digest,
    scopes: Scopes,
    in_force: bool,
}

/// A holder and the keys it was ever given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyHolder {
    holder: Option<Holder>,
    keys: BTreeMap<Box<str>, Key>,
}

fn check_name(what: &'static str, text: &str) -> Result<(), KeyRejection> {
    let fits = !text.is_empty() && text.len() <= OWNER_MAX_BYTES && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(KeyRejection::Name(what)) }
}

fn check_act(act: &Act) -> Result<(), KeyRejection> {
    check_name("actor", &act.actor)?;
    if act.reason.len() <= TEXT_MAX_BYTES { Ok(()) } else { Err(KeyRejection::Text("note")) }
}

fn check_scopes(holder: &Holder, scopes: Scopes) -> Result<(), KeyRejection> {
    if scopes.is_empty() {
        return Err(KeyRejection::NoScope);
    }
    if holder.customer.is_some() && scopes.has(Scope::Admin) {
        return Err(KeyRejection::CustomerIsNoAdmin);
    }
    Ok(())
}

impl KeyHolder {
    /// A key that is there, in force or void.
    fn key(&self, id: &str) -> Result<(&Holder, &Key), KeyRejection> {
        let known = self.holder.as_ref().zip(self.keys.get(id));
        known.ok_or_else(|| KeyRejection::Unknown(id.into()))
    }

    fn key_in_force(&self, id: &str) -> Result<(&Holder, &Key), KeyRejection> {
        let (holder, key) = self.key(id)?;
        if key.in_force { Ok((holder, key)) } else { Err(KeyRejection::Void(id.into())) }
    }

    /// Whether a key is there already; refused if another one has its id.
    fn is_there(&self, made: &MadeKey) -> Result<bool, KeyRejection> {
        match self.keys.get(&made.id) {
            None => Ok(false),
            Some(key) if key.hash == made.hash => Ok(true),
            Some(_) => Err(KeyRejection::IdTaken(made.id.clone())),
        }
    }

    fn check_room(&self) -> Result<(), KeyRejection> {
        let in_force = self.keys.values().filter(|key| key.in_force).count();
        if in_force < KEYS_PER_HOLDER_MAX { Ok(()) } else { Err(KeyRejection::TooManyKeys) }
    }

    fn issue(&self, holder: &Holder, made: &MadeKey, scopes: Scopes, act: &Act) -> Result<Vec<KeyEvent>, KeyRejection> {
        check_name("tenant", &holder.tenant)?;
        check_name("holder", &holder.name)?;
        if let Some(customer) = &holder.customer {
            check_name("customer", customer)?;
        }
        if self.holder.as_ref().is_some_and(|known| known != holder) {
            return Err(KeyRejection::OtherHolder);
        }
        check_name("id of the key", &made.id)?;
        check_scopes(holder, scopes)?;
        check_act(act)?;
        if self.is_there(made)? {
            return Ok(Vec::new());
        }
        self.check_room()?;
        Ok(vec![KeyEvent::Issued(issued(holder, made, scopes, None, act))])
    }

    fn rotate(&self, id: &str, made: &MadeKey, keep: bool, act: &Act) -> Result<Vec<KeyEvent>, KeyRejection> {
        check_act(act)?;
        check_name("id of the key", &made.id)?;
        if self.is_there(made)? {
            return Ok(Vec::new());
        }
        let (holder, key) = self.key_in_force(id)?;
        if keep {
            self.check_room()?;
        }
        let mut events = vec![KeyEvent::Issued(issued(holder, made, key.scopes, Some(id), act))];
        if !keep {
            events.push(KeyEvent::Revoked(revoked(id, act)));
        }
        Ok(events)
    }
}

fn issued(holder: &Holder, made: &MadeKey, scopes: Scopes, replaces: Option<&str>, act: &Act) -> ApiKeyIssued {
    ApiKeyIssued {
        key: made.id.clone(),
        hash: made.hash,
        holder: holder.clone(),
        scopes,
        replaces: replaces.map(Into::into),
        issued_at: act.at,
        actor: act.actor.clone(),
        note: act.reason.clone(),
    }
}

fn revoked(id: &str, act: &Act) -> ApiKeyRevoked {
    ApiKeyRevoked { key: id.into(), revoked_at: act.at, actor: act.actor.clone(), reason: act.reason.clone() }
}

impl Decider for KeyHolder {
    const TYPE: &'static str = Holder::AGGREGATE_TYPE;
    type Command = KeyCommand;
    type Event = KeyEvent;
    type Rejection = KeyRejection;

    fn decide(&self, command: &KeyCommand) -> Result<Vec<KeyEvent>, KeyRejection> {
        match command {
            KeyCommand::Issue { holder, key, scopes, act } => self.issue(holder, key, *scopes, act),
            KeyCommand::Rotate { key, successor, keep, act } => self.rotate(key, successor, *keep, act),
            KeyCommand::Revoke { key: id, act } => {
                check_act(act)?;
                let (_, key) = self.key(id)?;
                Ok(if key.in_force { vec![KeyEvent::Revoked(revoked(id, act))] } else { Vec::new() })
            }
            KeyCommand::SetScopes { key: id, scopes, act } => {
                check_act(act)?;
                let (holder, key) = self.key_in_force(id)?;
                check_scopes(holder, *scopes)?;
                if key.scopes == *scopes {
                    return Ok(Vec::new());
                }
                let (set_at, actor, reason) = (act.at, act.actor.clone(), act.reason.clone());
                Ok(vec![KeyEvent::ScopesSet(ApiKeyScopesSet {
                    key: id.clone(),
                    scopes: *scopes,
                    set_at,
                    actor,
                    reason,
                })])
            }
        }
    }

    fn apply(&mut self, event: &KeyEvent) {
        match event {
            KeyEvent::Issued(issued) => {
                self.holder.get_or_insert_with(|| issued.holder.clone());
                let key = Key { hash: issued.hash, scopes: issued.scopes, in_force: true };
                self.keys.insert(issued.key.clone(), key);
            }
            KeyEvent::Revoked(revoked) => {
                if let Some(key) = self.keys.get_mut(&revoked.key) {
                    key.in_force = false;
                }
            }
            KeyEvent::ScopesSet(set) => {
                if let Some(key) = self.keys.get_mut(&set.key) {
                    key.scopes = set.scopes;
                }
            }
        }
    }
}
