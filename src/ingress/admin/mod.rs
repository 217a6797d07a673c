//! The administration interface: health, metrics and `/api` on an address and on a socket, answered
//! by a thread of its own so that they answer under any load.

mod api;
mod door;
mod host;
mod page;
mod socket;

use std::io;
use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use self::door::Door;
use self::page::Page;
use crate::app::StartError;
use crate::config;
use crate::context::Context;

/// Where it is bound, not served yet.
pub struct Admin {
    doors: Vec<Door>,
}

impl Admin {
    /// Binds what is configured. A socket that nobody asked for may be missing.
    pub async fn bind(config: &config::Admin) -> Result<Admin, StartError> {
        let mut doors = Vec::new();
        if let Some(address) = config.address {
            let bound = Door::address(address);
            doors.push(bound.map_err(|source| StartError::Bind { address, source })?);
        }
        if let Some(socket) = &config.socket {
            match Door::socket(&socket.path).await {
                Ok(door) => doors.push(door),
                Err(source) if socket.required => {
                    let path = socket.path.clone();
                    return Err(StartError::Socket { path, source });
                }
                Err(error) => tracing::warn!(
                    path = %socket.path.display(), %error,
                    "there is no admin socket, so commands will not find this daemon; see admin.socket"
                ),
            }
        }
        Ok(Admin { doors })
    }

    /// Serves on a thread of its own until [`Context::stop`] is cancelled.
    pub fn serve(self, context: &Context) {
        let page = Arc::new(Page::new(context));
        let stop = context.stop.clone();
        // A thread that the main runtime does not wait for: were it told to end at once, it could.
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("admin".into());
        let started = thread.spawn(move || {
            let serving = async {
                tokio::select! {
                    () = stop.cancelled() => Ok(()),
                    Err(error) = serve_all(self.doors, page) => Err(error),
                }
            };
            // Dropping its runtime at the end lets go of whoever is still connected.
            let served = Builder::new_current_thread()
                .enable_all()
                .build()
                .and_then(|runtime| runtime.block_on(serving));
            if let Err(error) = served {
                tracing::error!(%error, "the administration is not served");
            }
            drop(end);
        });
        match started {
            // Nothing is ever sent: the wait is over when the thread is.
            Ok(_detached) => {
                context.background.spawn(async { ended.await.ok() });
            }
            Err(error) => tracing::error!(%error, "the administration is not served"),
        }
    }
}

/// Ends only if a door cannot be served at all.
async fn serve_all(doors: Vec<Door>, page: Arc<Page>) -> io::Result<()> {
    let serving = doors.into_iter().map(|door| door.serve(page.clone()));
    try_join_all(serving).await?;
    // Without a door there is nothing to wait for but the end.
    std::future::pending().await
}
