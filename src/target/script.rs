//! A script that answers calls.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Target;
use crate::call::{Call, Outcome};
use crate::router::{Captures, Place, Template};
use crate::script::Pool;

/// Calls go to the script at a path, which may hold captures.
pub struct ScriptTarget {
    pool: Arc<Pool>,
    path: Template,
}

impl ScriptTarget {
    /// The script at `path` below the scripts' directory.
    pub fn new(pool: Arc<Pool>, path: &Template) -> ScriptTarget {
        ScriptTarget {
            pool,
            path: path.clone(),
        }
    }
}

impl Target for ScriptTarget {
    fn call<'a>(&'a self, call: &'a Call, captures: &'a Captures) -> BoxFuture<'a, Outcome> {
        async move {
            let path = self.path.expand(captures, Place::Path)?;
            self.pool.run(call, &path).await
        }
        .boxed()
    }
}
