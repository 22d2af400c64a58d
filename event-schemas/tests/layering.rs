//! The house's floors: which of our crates each may import, and what it must not see in its whole closure of normal and
//! build dependencies. It stands here because this is the crate that everything else rests on, and it builds fast.
//!
//! `cargo metadata` turns on features that only tests need, so the closure it tells is never smaller than the one that is
//! built.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

struct Rule {
    name: &'static str,
    may_import: &'static [&'static str],
    must_not_see: &'static [&'static str],
}

const fn rule(name: &'static str, may_import: &'static [&'static str], must_not_see: &'static [&'static str]) -> Rule {
    Rule { name, may_import, must_not_see }
}

const LIBRARIES: &[&str] = &["event-schemas", "ledger-core", "projections", "stores", "connectors", "commands-api"];

/// The table of the architecture.
const RULES: &[Rule] = &[
    rule("event-schemas", &[], &["tokio", "sqlx", "rocksdb"]),
    rule("ledger-core", &["event-schemas"], &["tokio", "sqlx", "rocksdb", "rdkafka", "axum", "tonic", "cqrs-es"]),
    rule("projections", &["event-schemas"], &["ledger-core", "rocksdb", "rdkafka"]),
    rule("stores", &["event-schemas", "ledger-core", "projections"], &["axum", "tonic"]),
    rule("connectors", &["event-schemas", "ledger-core", "projections"], &["axum", "tonic", "rocksdb"]),
    rule("commands-api", &["event-schemas", "ledger-core", "projections"], &["rocksdb", "rdkafka", "sqlx"]),
    rule("ledgerd", LIBRARIES, &[]),
    rule("replay-tool", &["event-schemas", "ledger-core", "projections", "stores"], &["connectors", "tonic"]),
    rule("benches", LIBRARIES, &[]),
];

/// Who depends on whom, by name, for normal and build dependencies; and who is ours.
struct Graph {
    ours: BTreeSet<String>,
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn of_the_workspace() -> Self {
        let metadata = MetadataCommand::new()
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .other_options(["--filter-platform".into(), "x86_64-unknown-linux-gnu".into()])
            .exec()
            .unwrap();
        let name = |id| metadata[id].name.to_string();
        let mut dependencies = BTreeMap::<String, BTreeSet<String>>::new();
        for node in &metadata.resolve.as_ref().unwrap().nodes {
            let built = node
                .deps
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development));
            // Two versions of a crate are one name here, and count for both.
            dependencies.entry(name(&node.id)).or_default().extend(built.map(|dependency| name(&dependency.pkg)));
        }
        let ours = metadata.workspace_members.iter().map(name).collect();
        Self { ours, dependencies }
    }

    /// Everything that `start` needs, each with the one that needs it.
    fn closure(&self, start: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut open = vec![start.to_owned()];
        while let Some(from) = open.pop() {
            for to in self.dependencies.get(&from).into_iter().flatten() {
                if to != start && !found.contains_key(to) {
                    found.insert(to.clone(), from.clone());
                    open.push(to.clone());
                }
            }
        }
        found
    }

    fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let mut ruled = BTreeSet::new();
        for Rule { name, may_import, must_not_see } in RULES {
            ruled.insert((*name).to_owned());
            for (seen, through) in self.closure(name) {
                if self.ours.contains(&seen) && !may_import.contains(&seen.as_str()) {
                    violations.push(format!("{name} may not import {seen} (through {through})"));
                }
                if must_not_see.contains(&seen.as_str()) {
                    violations.push(format!("{name} must not see {seen} (through {through})"));
                }
            }
        }
        violations.extend(self.ours.difference(&ruled).map(|name| format!("{name} has no rule")));
        violations.extend(ruled.difference(&self.ours).map(|name| format!("there is no crate {name}")));
        violations
    }
}

#[test]
fn no_crate_sees_what_it_must_not() {
    let graph = Graph::of_the_workspace();
    // A graph that lost its edges would allow anything.
    assert!(graph.closure("ledgerd").contains_key("event-schemas"));
    assert!(graph.closure("event-schemas").contains_key("blake3"));
    assert_eq!(graph.violations(), Vec::<String>::new());
}

/// The ways to go wrong are for the tests alone: no crate's defaults and no dependency among ours turns them on.
#[test]
fn nothing_that_is_shipped_is_sabotaged() {
    let metadata = MetadataCommand::new().current_dir(env!("CARGO_MANIFEST_DIR")).no_deps().exec().unwrap();
    let schemas = metadata.packages.iter().find(|package| package.name.as_str() == "event-schemas").unwrap();
    assert!(schemas.features.contains_key("sabotage"));
    let turns_on = |feature: &String| feature.contains("sabotage");
    for package in &metadata.packages {
        for (name, on) in &package.features {
            assert!(name == "sabotage" || !on.iter().any(turns_on), "{}: {name}", package.name);
        }
        assert!(!package.dependencies.iter().any(|needed| needed.features.iter().any(turns_on)), "{}", package.name);
    }
}

#[test]
fn a_breach_is_told() {
    let breaches: &[(&str, &str, &[&str])] = &[
        ("event-schemas", "tokio", &["event-schemas must not see tokio (through event-schemas)"]),
        ("blake3", "rocksdb", &["ledger-core must not see rocksdb (through blake3)"]),
        (
            "projections",
            "ledger-core",
            &[
                "projections may not import ledger-core (through projections)",
                "projections must not see ledger-core (through projections)",
            ],
        ),
        ("replay-tool", "connectors", &["replay-tool must not see connectors (through replay-tool)"]),
        ("commands-api", "stores", &["commands-api may not import stores (through commands-api)"]),
        ("stores", "ledgerd", &["stores may not import ledgerd (through stores)"]),
    ];
    for (from, to, expected) in breaches {
        let mut graph = Graph::of_the_workspace();
        graph.dependencies.entry((*from).into()).or_default().insert((*to).into());
        let violations = graph.violations();
        for line in *expected {
            assert!(violations.iter().any(|told| told == line), "{line}: {violations:?}");
        }
    }
    let mut graph = Graph::of_the_workspace();
    graph.ours.insert("surprise".into());
    assert_eq!(graph.violations(), ["surprise has no rule"]);
}
