//! Deciders of the control plane: what comes of commands, as tables.
#![allow(clippy::unwrap_used)]

use event_schemas::bounds::KEYS_PER_HOLDER_MAX;
use event_schemas::control::{Holder, Scope, Scopes};
use event_schemas::{Digest, Timestamp};
use ledger_core::control::Decider;
use ledger_core::control::api_keys::{Act, KeyCommand, KeyEvent, KeyHolder, KeyRejection, MadeKey};

fn holder(customer: Option<&str>) -> Holder {
    Holder { tenant: "main".into(), name: "till".into(), customer: customer.map(Into::into) }
}

fn act(at: i64) -> Act {
    Act { actor: "anna".into(), at: Timestamp(at), reason: "because".into() }
}

fn made(id: &str, secret: u8) -> MadeKey {
    MadeKey { id: id.into(), hash: Digest([secret; 32]) }
}

fn scopes(text: &str) -> Scopes {
    text.split(' ').filter(|name| !name.is_empty()).map(|name| name.parse::<Scope>().unwrap()).collect()
}

fn issue(id: &str, secret: u8, scope: &str) -> KeyCommand {
    KeyCommand::Issue { holder: holder(None), key: made(id, secret), scopes: scopes(scope), act: act(1) }
}

fn rotate(id: &str, successor: &str, secret: u8, keep: bool) -> KeyCommand {
    KeyCommand::Rotate { key: id.into(), successor: made(successor, secret), keep, act: act(2) }
}

fn revoke(id: &str) -> KeyCommand {
    KeyCommand::Revoke { key: id.into(), act: act(3) }
}

fn set(id: &str, scope: &str) -> KeyCommand {
    KeyCommand::SetScopes { key: id.into(), scopes: scopes(scope), act: act(4) }
}

/// What a fact says, short.
fn told(event: &KeyEvent) -> String {
    let names = |scopes: Scopes| scopes.iter().map(Scope::name).collect::<Vec<_>>().join(" ");
    match event {
        KeyEvent::Issued(issued) => {
            assert_eq!((issued.actor.as_ref(), issued.note.as_ref()), ("anna", "because"));
            let instead = issued.replaces.as_ref().map_or_else(String::new, |old| format!(" for {old}"));
            format!("+{} {}{instead} @{}", issued.key, names(issued.scopes), issued.issued_at.0)
        }
        KeyEvent::Revoked(revoked) => format!("-{} @{}", revoked.key, revoked.revoked_at.0),
        KeyEvent::ScopesSet(set) => format!("{} = {} @{}", set.key, names(set.scopes), set.set_at.0),
    }
}

/// What there was, what is asked, the events of it, and why not.
type Case<'a> = (Vec<KeyCommand>, KeyCommand, &'a [&'a str], Option<KeyRejection>);

/// Given what was asked for before, when this is asked for, then these facts or this refusal.
#[test]
fn what_comes_of_commands() {
    let table: Vec<Case> = vec![
        (vec![], issue("a", 1, "read write"), &["+a read write @1"], None),
        (vec![], issue("a", 1, ""), &[], Some(KeyRejection::NoScope)),
        (vec![], issue("", 1, "read"), &[], Some(KeyRejection::Name("id of the key"))),
        (vec![issue("a", 1, "read")], issue("b", 2, "admin"), &["+b admin @1"], None),
        // The same again is no news; the same id for another secret is refused.
        (vec![issue("a", 1, "read")], issue("a", 1, "read"), &[], None),
        (vec![issue("a", 1, "read"), revoke("a")], issue("a", 1, "read"), &[], None),
        (vec![issue("a", 1, "read")], issue("a", 2, "read"), &[], Some(KeyRejection::IdTaken("a".into()))),
        (vec![issue("a", 1, "read")], rotate("a", "a", 2, false), &[], Some(KeyRejection::IdTaken("a".into()))),
        // Rotation is one step: the new key has the scopes of the old one as they are now.
        (vec![issue("a", 1, "read")], rotate("a", "b", 2, false), &["+b read for a @2", "-a @2"], None),
        (vec![issue("a", 1, "read")], rotate("a", "b", 2, true), &["+b read for a @2"], None),
        (vec![issue("a", 1, "read"), set("a", "admin")], rotate("a", "b", 2, true), &["+b admin for a @2"], None),
        (vec![issue("a", 1, "read"), rotate("a", "b", 2, false)], rotate("a", "b", 2, false), &[], None),
        (
            vec![issue("a", 1, "read"), revoke("a")],
            rotate("a", "b", 2, false),
            &[],
            Some(KeyRejection::Void("a".into())),
        ),
        (vec![], rotate("a", "b", 2, false), &[], Some(KeyRejection::Unknown("a".into()))),
        // Void is void for good.
        (vec![issue("a", 1, "read")], revoke("a"), &["-a @3"], None),
        (vec![issue("a", 1, "read"), revoke("a")], revoke("a"), &[], None),
        (vec![issue("a", 1, "read"), rotate("a", "b", 2, false)], revoke("b"), &["-b @3"], None),
        (vec![issue("a", 1, "read")], revoke("b"), &[], Some(KeyRejection::Unknown("b".into()))),
        (vec![issue("a", 1, "read")], set("a", "read write"), &["a = read write @4"], None),
        (vec![issue("a", 1, "read")], set("a", "read"), &[], None),
        (vec![issue("a", 1, "read")], set("a", ""), &[], Some(KeyRejection::NoScope)),
        (vec![issue("a", 1, "read"), revoke("a")], set("a", "admin"), &[], Some(KeyRejection::Void("a".into()))),
        (vec![], set("a", "admin"), &[], Some(KeyRejection::Unknown("a".into()))),
    ];
    for (given, when, then, refused) in table {
        let mut keys = KeyHolder::default();
        for command in &given {
            for event in keys.decide(command).unwrap() {
                keys.apply(&event);
            }
        }
        let decided = keys.decide(&when);
        assert_eq!(decided.as_ref().err(), refused.as_ref(), "{given:?} {when:?}");
        let facts: Vec<_> = decided.unwrap_or_default().iter().map(told).collect();
        assert_eq!(facts, then, "{given:?} {when:?}");
    }
}

#[test]
fn names_and_texts_are_bounded_and_a_customer_is_no_admin() {
    let with = |change: fn(&mut Holder, &mut Scopes, &mut Act)| {
        let (mut holder, mut scopes, mut act) = (holder(Some("client:1")), scopes("read"), act(1));
        change(&mut holder, &mut scopes, &mut act);
        KeyHolder::default().decide(&KeyCommand::Issue { holder, key: made("a", 1), scopes, act }).err()
    };
    assert_eq!(with(|_, _, _| ()), None);
    assert_eq!(with(|holder, _, _| holder.name = "".into()), Some(KeyRejection::Name("holder")));
    assert_eq!(with(|holder, _, _| holder.name = "till\u{1f}".into()), Some(KeyRejection::Name("holder")));
    assert_eq!(with(|holder, _, _| holder.tenant = "x".repeat(65).into()), Some(KeyRejection::Name("tenant")));
    assert_eq!(with(|holder, _, _| holder.customer = Some("".into())), Some(KeyRejection::Name("customer")));
    assert_eq!(with(|_, _, act| act.actor = "".into()), Some(KeyRejection::Name("actor")));
    assert_eq!(with(|_, _, act| act.reason = "x".repeat(257).into()), Some(KeyRejection::Text("note")));
    let admin = |_: &mut Holder, scopes: &mut Scopes, _: &mut Act| *scopes = Scope::ALL.into_iter().collect();
    assert_eq!(with(admin), Some(KeyRejection::CustomerIsNoAdmin));
    let mut keys = KeyHolder::default();
    let mine =
        KeyCommand::Issue { holder: holder(Some("c:1")), key: made("a", 1), scopes: scopes("read"), act: act(1) };
    keys.decide(&mine).unwrap().iter().for_each(|event| keys.apply(event));
    assert_eq!(keys.decide(&set("a", "read admin")).err(), Some(KeyRejection::CustomerIsNoAdmin));
    assert_eq!(keys.decide(&issue("b", 2, "read")).err(), Some(KeyRejection::OtherHolder));
}

#[test]
fn a_holder_has_so_many_keys_in_force_and_no_more() {
    let mut keys = KeyHolder::default();
    let does = |keys: &mut KeyHolder, command: &KeyCommand| {
        keys.decide(command).map(|events| events.iter().for_each(|event| keys.apply(event)))
    };
    for number in 0..KEYS_PER_HOLDER_MAX {
        does(&mut keys, &issue(&format!("key {number}"), 1, "read")).unwrap();
    }
    assert_eq!(does(&mut keys, &issue("more", 1, "read")), Err(KeyRejection::TooManyKeys));
    assert_eq!(does(&mut keys, &rotate("key 1", "more", 1, true)), Err(KeyRejection::TooManyKeys));
    assert_eq!(does(&mut keys, &rotate("key 1", "more", 1, false)), Ok(()), "one goes as one comes");
    assert_eq!(does(&mut keys, &revoke("key 2")), Ok(()));
    assert_eq!(does(&mut keys, &issue("another", 1, "read")), Ok(()));
}
