//! Tokens in memory: found, revoked, expired.

use super::*;
use crate::auth::token::digest;
use crate::auth::{GrantTexts, Verb};

fn made(name: &str, expires: Option<u64>) -> Made {
    let grants = GrantTexts {
        publish: vec!["telemetry/{caller}".into()],
        ..GrantTexts::default()
    };
    Made {
        token: Token {
            name: name.into(),
            digest: digest(&format!("token of {name}")),
            grants: grants.read(name).unwrap(),
            admin: false,
        },
        created: 0,
        expires,
    }
}

fn find(keyring: &Keyring, name: &str, now: u64) -> Option<Caller> {
    keyring.find(&digest(&format!("token of {name}")), now)
}

#[test]
fn a_name_in_a_grant_is_the_token_s_own() {
    let keyring = Keyring::default();
    keyring.add([made("pump", None)]);
    let caller = find(&keyring, "pump", 0).unwrap();
    assert!(caller.may(Verb::Publish, "telemetry/pump"));
    assert!(!caller.may(Verb::Publish, "telemetry/valve"));
}

#[tokio::test]
async fn whoever_acts_as_a_revoked_token_learns_of_it() {
    let keyring = Keyring::default();
    keyring.add([made("pump", None), made("valve", None)]);
    let (pump, valve) = (find(&keyring, "pump", 0), find(&keyring, "valve", 0));
    let (pump, valve) = (pump.unwrap(), valve.unwrap());
    keyring.revoke("pump");
    pump.ended().await;
    assert!(pump.clone().has_ended() && !valve.has_ended());
    assert!(find(&keyring, "pump", 0).is_none() && keyring.by_name("pump", 0).is_none());
    assert!(find(&keyring, "valve", 0).is_some());
}

#[test]
fn a_revoked_name_may_be_given_again() {
    let keyring = Keyring::default();
    keyring.add([made("pump", None)]);
    let before = find(&keyring, "pump", 0).unwrap();
    keyring.revoke("pump");
    keyring.add([made("pump", None)]);
    assert!(before.has_ended());
    assert!(!find(&keyring, "pump", 0).unwrap().has_ended());
}

#[test]
fn what_has_expired_is_refused_before_anybody_sweeps() {
    let keyring = Keyring::default();
    keyring.add([made("pump", Some(1_000))]);
    let caller = find(&keyring, "pump", 999).unwrap();
    assert!(find(&keyring, "pump", 1_000).is_none());
    assert!(!caller.has_ended());
    assert_eq!(keyring.sweep(999), Some(Duration::from_millis(1)));
    assert_eq!(keyring.sweep(1_000), None);
    assert!(caller.has_ended());
    assert!(find(&keyring, "pump", 999).is_none(), "ended is ended");
    assert!(keyring.get("pump").is_some(), "it is still shown");
}

#[test]
fn the_long_expired_are_forgotten() {
    let keyring = Keyring::default();
    keyring.add([made("old", Some(1)), made("new", None)]);
    keyring.add([]);
    assert!(keyring.get("old").is_none() && !keyring.has(&digest("token of old")));
    assert!(keyring.get("new").is_some());
}

#[tokio::test]
async fn the_watch_ends_tokens_when_their_time_has_come() {
    let keyring = Arc::new(Keyring::default());
    let watched = keyring.clone();
    let watch = async move { watched.watch().await };
    let story = async {
        // Nothing to wait for yet; the token that comes wakes the watch.
        tokio::task::yield_now().await;
        let now = unix_ms();
        keyring.add([
            made("soon", Some(now + 50)),
            made("late", Some(now + 60_000)),
        ]);
        let (soon, late) = (find(&keyring, "soon", now), find(&keyring, "late", now));
        soon.unwrap().ended().await;
        assert!(unix_ms() >= now + 50, "not early");
        assert!(!late.unwrap().has_ended());
    };
    tokio::select! {
        () = watch => unreachable!("it goes on for ever"),
        () = story => {}
    }
}
