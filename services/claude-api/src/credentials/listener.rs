//! The listener of the port to which `credentials` connects.

use std::io;
use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::link;
use super::peer_rule::Refusal;
use super::shared::Shared;

/// The maximum number of connections that have not said hello. A connection takes a place after the
/// check for own addresses, and releases it with its hello or its end. A further connection is
/// closed at once, so that a flood cannot use up descriptors; `credentials` reconnects.
const STRANGERS: usize = 16;

/// Accepts connections and serves each in a task of its own. Never returns.
pub(super) async fn serve(mut listener: TcpListener, shared: Arc<Shared>) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    loop {
        // Repeats after an error, such as a shortage of descriptors, with a pause.
        let (stream, peer) = Listener::accept(&mut listener).await;
        let peer = peer.ip();
        if let Err(refusal) = shared.rule.check_own(peer) {
            refuse(&shared, refusal);
            continue;
        }
        let Ok(stranger) = Arc::clone(&strangers).try_acquire_owned() else {
            tracing::debug!(%peer, "closed a connection: too many have not said hello");
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            match shared.rule.check(peer).await {
                Ok(()) => {
                    prepare(&stream);
                    link::run(stream, &shared, stranger).await;
                }
                Err(refusal) => refuse(&shared, refusal),
            }
        });
    }
}

/// Records a refused connection. It is not a warning in the log, because commands of the model
/// could fill the log.
fn refuse(shared: &Shared, refusal: Refusal) {
    tracing::debug!(%refusal, "refused a connection to the port for the service credentials");
    shared.refused(refusal.to_string());
}

/// Makes the kernel send each line at once (TCP_NODELAY). An error does not matter: the next write
/// fails, too.
fn prepare(stream: &TcpStream) {
    let _: io::Result<()> = stream.set_nodelay(true);
}
