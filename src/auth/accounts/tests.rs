//! Accounts in memory: whom a token proves, and for how long.

use super::*;
use crate::auth::token::digest;
use crate::auth::{GrantTexts, Verb};

const LIFETIME: Lifetime = Lifetime {
    idle: Duration::from_millis(100),
    whole: Duration::from_millis(1000),
};

fn realm() -> Arc<str> {
    "game/{action}".into()
}

fn login(token: &str, issued: u64) -> Login {
    Login {
        token: digest(token),
        issued,
        used: issued,
    }
}

fn accounts(names: &[&str]) -> Accounts {
    let accounts = Accounts::default();
    accounts.open(realm(), Pattern::parse(&realm()).unwrap());
    for name in names {
        accounts.add(Account {
            realm: realm(),
            checksum: digest(name),
            caller: account_name(name, 1).into(),
            login: Some(login(name, 0)),
        });
    }
    accounts
}

fn proved(accounts: &Accounts, token: &str, now: u64) -> Option<String> {
    let proved = accounts.prove("game/{action}", &digest(token), LIFETIME, now);
    proved.map(|proved| proved.caller.name().to_owned())
}

#[test]
fn a_token_ends_idle_or_old_and_its_use_is_noted_now_and_then() {
    let accounts = accounts(&["tom"]);
    assert_eq!(proved(&accounts, "other", 0), None);
    assert_eq!(proved(&accounts, "tom", 100).as_deref(), Some("action:tom"));
    assert_eq!(proved(&accounts, "tom", 201), None, "idle for too long");

    let keep = |now| {
        let proved = accounts.prove(&realm(), &digest("tom"), LIFETIME, now);
        proved.map(|proved| proved.keep)
    };
    accounts.log_in("action:tom", Some(login("tom", 1000)));
    assert_eq!(keep(1005), Some(false), "hardly worth a write");
    for now in (1050..=2000).step_by(50) {
        assert_eq!(keep(now), Some(true), "{now}");
    }
    assert_eq!(keep(2010), None, "however much it is used");
}

#[test]
fn a_new_token_ends_the_old_one() {
    let accounts = accounts(&["tom", "ann"]);
    accounts.log_in("action:tom", Some(login("second", 0)));
    assert_eq!(proved(&accounts, "tom", 0), None);
    assert_eq!(
        proved(&accounts, "second", 0).as_deref(),
        Some("action:tom")
    );
    accounts.log_in("action:tom", None);
    assert_eq!(proved(&accounts, "second", 0), None);
    assert_eq!(proved(&accounts, "ann", 0).as_deref(), Some("action:ann"));
    assert!(
        accounts.0.read().by_token.len() == 1,
        "nothing stays behind"
    );
}

#[test]
fn an_account_may_do_one_thing_and_is_known_in_its_realm_only() {
    let accounts = accounts(&["tom"]);
    let tom = accounts.by_name("action:tom").unwrap();
    assert!(tom.may(Verb::Call, "game/TakeDecision") && !tom.is_admin());
    let grants = GrantTexts::from(&tom.token().grants);
    let one = GrantTexts {
        call: vec!["game/{action}".into()],
        ..GrantTexts::default()
    };
    assert_eq!(grants, one);

    let other: Arc<str> = "other/{action}".into();
    assert!(accounts.find(&realm(), &digest("tom")).is_some());
    assert!(accounts.find(&other, &digest("tom")).is_none());
    let elsewhere = accounts.prove(&other, &digest("tom"), LIFETIME, 0);
    assert!(elsewhere.is_none());
    accounts.add(Account {
        realm: other,
        checksum: digest("x"),
        caller: "action:x".into(),
        login: None,
    });
    assert!(
        accounts.by_name("action:x").is_none(),
        "no endpoint has its realm any more"
    );
}

#[test]
fn names_that_two_chose_make_two_callers() {
    assert_eq!(account_name("tom", 1), "action:tom");
    assert_eq!(account_name("tom", 2), "action:tom:2");
    assert!(is_account("action:tom") && !is_account("tom"));
}
