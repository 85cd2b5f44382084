//! The service with a fake claude-api.

use std::path::Path;

use grants::{GrantHash, Order, Registration, Report, VERSION};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Service, ServiceOptions, binary};

/// The grant of the one execution.
pub(super) const GRANT: &str = "ccg_bench";

/// The service with a control connection that registers the grant.
pub(super) struct Setup {
    /// The service.
    pub(super) service: Service,
    /// The fake API's socket.
    pub(super) api: TcpListener,
    /// Keeps the control connection open, and drops its reports.
    control: tokio::task::JoinHandle<()>,
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.control.abort();
    }
}

impl Setup {
    /// Starts the service, and waits until the grant is in force.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let api = TcpListener::bind("127.0.0.1:0").await?;
        let claude_api = TcpListener::bind("127.0.0.1:0").await?;
        let variables = [
            (
                "ANTHROPIC_BASE_URL",
                format!("http://{}", api.local_addr()?),
            ),
            ("ANTHROPIC_API_KEY", "bench".to_owned()),
        ];
        let arguments = [
            "--port=0".to_owned(),
            format!("--claude-api={}", claude_api.local_addr()?),
        ];
        let service = Service::start(ServiceOptions {
            name: "credentials".to_owned(),
            program: binary("credentials"),
            arguments: arguments.into(),
            environment: variables
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            log: folder.join("credentials.log"),
        });
        let (service, control) = tokio::join!(service, register(&claude_api));
        let mut reports = control?;
        let control = tokio::spawn(async move {
            let mut line = String::new();
            while reports
                .read_line(&mut line)
                .await
                .is_ok_and(|count| count > 0)
            {
                line.clear();
                let beat = grants::to_line(&Order::Beat);
                if reports.write_all(beat.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            service,
            api,
            control,
        })
    }
}

/// Accepts the control connection and registers the grant. Returns when it is in force.
async fn register(claude_api: &TcpListener) -> anyhow::Result<BufReader<TcpStream>> {
    let (stream, _) = claude_api.accept().await?;
    let mut stream = BufReader::new(stream);
    let registration = |execution: &str, grant: &str| {
        Order::Grant(Registration {
            execution_id: execution.to_owned(),
            hash: GrantHash::of(grant),
            principal: None,
            max_cost_usd: None,
            spent_usd: 0.0,
        })
    };
    let orders = [
        Order::Hello { version: VERSION },
        registration("bench", GRANT),
        Order::Synced,
        registration("last", "last"),
    ];
    for order in orders {
        stream.write_all(grants::to_line(&order).as_bytes()).await?;
    }
    let last = "last".to_owned();
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let report: Report = grants::parse(line.as_bytes())?;
        if report
            == (Report::Granted {
                execution_id: last.clone(),
            })
        {
            return Ok(stream);
        }
        line.clear();
    }
    anyhow::bail!("credentials closed the control connection")
}
