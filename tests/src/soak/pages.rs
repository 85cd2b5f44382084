//! Reads the pages that belong to no principal, and checks that they name none: the health pages,
//! which need no token, and the metrics, which are the operator's.

use std::{sync::Arc, time::Duration};

use reqwest::Method;

use super::world::{Phase, World};
use crate::http::Http;

/// The pause between two readings of all pages.
const EVERY: Duration = Duration::from_secs(2);
/// The timeout of one reading; a service that is down for longer is the business of other checks.
const ANSWER: Duration = Duration::from_secs(5);
const PAGES: [&str; 4] = [
    "/health/ready",
    "/health/live",
    "/health/startup",
    "/metrics",
];

/// Reads the pages until the run is over.
pub(super) async fn run(world: Arc<World>) {
    while world.phase() < Phase::Over {
        tokio::time::sleep(EVERY).await;
        for (name, service) in [
            ("claude-api", &world.admin),
            ("bridge", &world.bridge_admin),
        ] {
            for page in PAGES {
                let Some(text) = read(service, page).await else {
                    continue;
                };
                if let Err(rule) = world.check_page(&text) {
                    world.violate(name, &format!("{page}: {rule}"));
                }
            }
        }
    }
}

/// Returns the text of a page, whatever its status code; `None` if the service is down.
async fn read(service: &Http, page: &str) -> Option<String> {
    let reading = async {
        let response = service.request(Method::GET, page).send().await.ok()?;
        response.text().await.ok()
    };
    tokio::time::timeout(ANSWER, reading).await.ok()?
}
