//! A TCP proxy that ends idle connections, as load balancers do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct IdleProxy {
    addr: SocketAddr,
    cut: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl IdleProxy {
    /// Starts a proxy in front of `target`.
    ///
    /// # Panics
    /// If no port of loopback is free.
    pub async fn start(target: SocketAddr, limit: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener
            .local_addr()
            .expect("a bound listener has an address");
        let cut = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&cut);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await
                        && carry(client, server, limit).await
                    {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { addr, cut, task }
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the number of connections that it ended.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::SeqCst)
    }
}

impl Drop for IdleProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes bytes in both directions until one side ends or both are idle for too long; returns
/// whether they were idle.
async fn carry(mut client: TcpStream, mut server: TcpStream, limit: Duration) -> bool {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let mut end = Instant::now() + limit;
    loop {
        let passed = tokio::select! {
            () = tokio::time::sleep_until(end) => return true,
            read = client.read(&mut up) => pass(read, &up, &mut server).await,
            read = server.read(&mut down) => pass(read, &down, &mut client).await,
        };
        if !passed {
            return false;
        }
        end = Instant::now() + limit;
    }
}

async fn pass(read: std::io::Result<usize>, bytes: &[u8], to: &mut TcpStream) -> bool {
    match read {
        Ok(0) | Err(_) => false,
        Ok(count) => to.write_all(&bytes[..count]).await.is_ok(),
    }
}
