//! A fake claude-api, at the other end of the control connection.

use std::net::SocketAddr;

use grants::{Answer, GrantHash, Order, Registration, Report, VERSION};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::soon;

pub(crate) struct ClaudeApi {
    listener: TcpListener,
    connection: Option<(BufReader<OwnedReadHalf>, OwnedWriteHalf)>,
}

impl ClaudeApi {
    pub(crate) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            connection: None,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Accepts the next connection without a word.
    pub(crate) async fn accept_silently(&mut self) -> TcpStream {
        soon("a control connection", self.listener.accept())
            .await
            .unwrap()
            .0
    }

    /// Accepts the next connection and exchanges the first lines. Returns the service's.
    pub(crate) async fn accept(&mut self) -> Report {
        let (read, write) = self.accept_silently().await.into_split();
        self.connection = Some((BufReader::new(read), write));
        self.send(&Order::Hello { version: VERSION }).await;
        self.next().await
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }

    pub(crate) async fn send(&mut self, order: &Order) {
        let (_, write) = self.connection.as_mut().unwrap();
        write
            .write_all(grants::to_line(order).as_bytes())
            .await
            .unwrap();
    }

    /// Returns the next report, with beats.
    pub(crate) async fn next(&mut self) -> Report {
        let (read, _) = self.connection.as_mut().unwrap();
        let mut line = String::new();
        soon("a report", read.read_line(&mut line)).await.unwrap();
        grants::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Reads without a word until the service closes the connection.
    pub(crate) async fn read_to_end(&mut self) {
        let (mut read, _write) = self.connection.take().unwrap();
        let mut rest = Vec::new();
        let ended = soon("the end of the connection", read.read_to_end(&mut rest)).await;
        ended.unwrap();
    }

    /// Returns the next report that is no beat.
    pub(crate) async fn report(&mut self) -> Report {
        loop {
            match self.next().await {
                Report::Beat => {}
                report => return report,
            }
        }
    }

    /// Returns the next report, which must be an answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        match self.report().await {
            Report::Answer(answer) => answer,
            report => panic!("{report:?} is no answer"),
        }
    }

    /// Registers a grant and waits until it is in force.
    pub(crate) async fn grant(&mut self, execution: &str, grant: &str, max_cost_usd: Option<f64>) {
        self.send(&Order::Grant(Registration {
            execution_id: execution.to_owned(),
            hash: GrantHash::of(grant),
            principal: None,
            max_cost_usd,
            spent_usd: 0.0,
        }))
        .await;
        let execution_id = execution.to_owned();
        assert_eq!(self.report().await, Report::Granted { execution_id });
    }

    /// Sends `synced`, and waits until the service has obeyed it.
    pub(crate) async fn sync(&mut self) {
        self.send(&Order::Synced).await;
        self.barrier().await;
    }

    /// Waits until the service has obeyed all orders so far.
    pub(crate) async fn barrier(&mut self) {
        self.grant("barrier", "the-grant-of-the-barrier", None)
            .await;
    }
}
