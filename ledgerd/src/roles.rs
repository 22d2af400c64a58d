//! What a process of the ledger does. One process has all roles, unless `--roles` says otherwise.
//!
//! A new role is a line in [`Role`] and what `serve/split/` starts for it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Serves the HTTP API. Without the writer in the same process it is a gateway to it.
    Api,
    /// Decides commands and writes the journal.
    Writer,
    /// Keeps the read models.
    Projector,
    /// Publishes events to Kafka.
    Relay,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Api, Self::Writer, Self::Projector, Self::Relay];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Writer => "writer",
            Self::Projector => "projector",
            Self::Relay => "relay",
        }
    }
}

/// The roles of a process: one at least, each once, written `api,writer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

impl Roles {
    /// Whether it has this one.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Whether it has all.
    pub fn is_whole(&self) -> bool {
        Role::ALL.into_iter().all(|role| self.has(role))
    }

    /// Their names, in the order of [`Role::ALL`].
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|role| role.name()).collect()
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self(Role::ALL.to_vec())
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut found = Vec::new();
        for name in text.split(',').map(str::trim) {
            let role = Role::ALL.into_iter().find(|role| role.name() == name).ok_or_else(|| {
                let all = Self::default();
                format!("{name:?} is no role: write some of {all}")
            })?;
            if found.contains(&role) {
                return Err(format!("{name} is named twice"));
            }
            found.push(role);
        }
        found.sort_unstable();
        Ok(Self(found))
    }
}

impl Serialize for Roles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_written() {
        let roles = "writer, api".parse::<Roles>();
        assert_eq!(roles.as_ref().map(ToString::to_string), Ok("api,writer".into()));
        assert_eq!(roles.map(|roles| (roles.has(Role::Relay), roles.is_whole())), Ok((false, false)));
        assert!(Roles::default().is_whole());
        for (wrong, expected) in
            [("", "is no role"), ("api,api", "named twice"), ("api;writer", "some of api,writer,projector,relay")]
        {
            let error = wrong.parse::<Roles>().err().unwrap_or_default();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }
}
