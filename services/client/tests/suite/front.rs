// A front of the fake bridge for tests, as a reverse proxy is one: it records the head of each HTTP
// request, can refuse some of them, speaks TLS, and passes everything else on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A running front.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Front {
    /// Starts a front of the server at this address. It answers the first requests with `answers`,
    /// and passes the later ones on, and those whose answer is empty. With `tls`, it expects TLS.
    pub(crate) async fn start(
        server: SocketAddr,
        answers: Vec<String>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = heads.clone();
        let acceptor = tls.map(TlsAcceptor::from);
        let task = tokio::spawn(async move {
            let mut answers = answers.into_iter();
            let mut served = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (log.clone(), answers.next());
                let acceptor = acceptor.clone();
                served.spawn(async move {
                    match acceptor {
                        None => serve(stream, server, answer, log).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, server, answer, log).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            heads,
            task,
        }
    }

    /// Returns the heads of all received requests.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    server: SocketAddr,
    answer: Option<String>,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8(head.clone()).unwrap();
    log.lock().unwrap().push(text);
    if let Some(answer) = answer.filter(|answer| !answer.is_empty()) {
        stream.write_all(answer.as_bytes()).await.ok();
        stream.shutdown().await.ok();
        return;
    }
    let mut server = TcpStream::connect(server).await.unwrap();
    server.write_all(&head).await.unwrap();
    copy_bidirectional(&mut stream, &mut server).await.ok();
}

/// Returns an HTTP answer with this status line, further header lines and JSON body.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
}
