//! Where a conversation asks for accounts: they are kept in the store, looked up in memory, and
//! whoever guesses is slowed.

use std::sync::Arc;

use crate::auth::{Account, Caller, Lifetime, Login, Secret, Source, digest, new_secret};
use crate::call::unix_ms;
use crate::config::ActionOptions;
use crate::context::Context;
use crate::dialect::action::{Answer, Profile, Question, Refusal, Registration};
use crate::router::as_segment;
use crate::store::{NewAccount, Registered};

/// The accounts of one endpoint, as one client may ask for them.
pub(in crate::ingress) struct Desk {
    context: Context,
    options: Arc<ActionOptions>,
    /// Where bad tries are counted.
    source: Source,
}

impl Desk {
    pub(super) fn new(context: Context, options: Arc<ActionOptions>, source: Source) -> Desk {
        Desk {
            context,
            options,
            source,
        }
    }

    /// Answers a question. What it changes is on disk when the answer is there.
    pub(in crate::ingress) async fn answer(
        self: Arc<Self>,
        question: Question,
    ) -> Result<Answer, Refusal> {
        match question {
            Question::Register(wanted) => self.register(wanted).await,
            Question::Connect { checksum } => self.connect(&checksum).await,
            Question::Disconnect { token } => self.disconnect(token).await,
            Question::Admit {
                method,
                needs_route: true,
                ..
            } if !self.context.dispatcher.has_route(&method) => Err(Refusal::NoRoute),
            Question::Admit { token, .. } => {
                let caller = self.prove(token).await?;
                let profile = self.profile(&caller).await?;
                Ok(Answer::Caller(caller, profile))
            }
        }
    }

    async fn register(&self, wanted: Registration) -> Result<Answer, Refusal> {
        // Compared by their digests: how long it takes tells nothing about the key.
        let key = self.options.api_key.as_ref();
        let fits = key.is_some_and(|key| digest(key.expose()).is(&digest(wanted.api_key.expose())));
        if !fits {
            self.bad_try(&wanted.api_key).await;
            return Err(Refusal::ApiKey);
        }
        let (token, login) = new_login()?;
        let wanted = NewAccount {
            realm: self.options.realm().clone(),
            checksum: digest(wanted.checksum.expose()),
            login,
            segment: as_segment(&wanted.name),
            name: wanted.name,
            prompt: wanted.prompt,
        };
        let auth = self.context.auth.clone();
        let most = self.context.config.limits.accounts;
        let then = move |account: &Account| auth.accounts().add(account.clone());
        let registered = self.context.store.add_account(wanted, most, then);
        match registered.await.map_err(Refusal::Failed)? {
            Registered::Made(account) => {
                tracing::info!(caller = %account.caller, "an account was made");
                Ok(Answer::Token(token))
            }
            Registered::Taken => Err(Refusal::Taken),
            Registered::Full => {
                self.context.metrics.limit_reached("accounts");
                tracing::warn!(most, "there are as many accounts as limits.accounts allows");
                Err(Refusal::Full)
            }
        }
    }

    async fn connect(&self, checksum: &Secret) -> Result<Answer, Refusal> {
        let auth = self.context.auth.clone();
        let hash = digest(checksum.expose());
        let Some(caller) = auth.accounts().find(self.options.realm(), &hash) else {
            // It is all that an account logs in with, so it is guessed like a token.
            self.bad_try(checksum).await;
            return Err(Refusal::Unknown);
        };
        let (token, login) = new_login()?;
        let name = caller.clone();
        let then = move || auth.accounts().log_in(&name, Some(login));
        let known = self.context.store.log_in(&caller, Some(login), then).await;
        match known.map_err(Refusal::Failed)? {
            true => Ok(Answer::Token(token)),
            false => Err(Refusal::Unknown),
        }
    }

    async fn disconnect(&self, token: Option<Secret>) -> Result<Answer, Refusal> {
        let hash = token.as_ref().map(|token| digest(token.expose()));
        let caller = self.prove(token).await?;
        let Some(hash) = hash else {
            return Err(Refusal::NoToken);
        };
        let auth = self.context.auth.clone();
        let then = move || auth.accounts().log_out(caller.name(), &hash);
        let ended = self.context.store.log_out(hash, then).await;
        match ended.map_err(Refusal::Failed)? {
            true => Ok(Answer::Disconnected),
            // Another login has ended it meanwhile.
            false => Err(Refusal::Token),
        }
    }

    async fn prove(&self, token: Option<Secret>) -> Result<Caller, Refusal> {
        let token = token.ok_or(Refusal::NoToken)?;
        let hash = digest(token.expose());
        let lifetime = Lifetime {
            idle: self.options.token_idle,
            whole: self.options.token_lifetime,
        };
        let now = unix_ms();
        let accounts = self.context.auth.accounts();
        let Some(proved) = accounts.prove(self.options.realm(), &hash, lifetime, now) else {
            self.bad_try(&token).await;
            return Err(Refusal::Token);
        };
        if proved.keep {
            self.context.store.token_used(hash, now);
        }
        Ok(proved.caller)
    }

    /// What responders are told of an account, where that is wanted.
    async fn profile(&self, caller: &Caller) -> Result<Option<Profile>, Refusal> {
        if !self.options.account {
            return Ok(None);
        }
        let kept = self.context.store.account_profile(caller.name()).await;
        let (name, prompt) = kept.map_err(Refusal::Failed)?.ok_or(Refusal::Token)?;
        Ok(Some(Profile { name, prompt }))
    }

    async fn bad_try(&self, secret: &Secret) {
        let tried = digest(secret.expose());
        self.context.auth.refused(&tried, &self.source).await;
    }
}

fn new_login() -> Result<(Secret, Login), Refusal> {
    let token = new_secret().map_err(Refusal::Generate)?;
    let now = unix_ms();
    let login = Login {
        token: digest(token.expose()),
        issued: now,
        used: now,
    };
    Ok((token, login))
}
