//! One connection through the proxy.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{broadcast, watch},
};

use super::{Counts, Cut, Entry, Faults, Pipe, lost_byte::LostByte};

const CHUNK_BYTES: usize = 64 * 1024;
/// The interval in which a rate is enforced.
const STEP: Duration = Duration::from_millis(20);

pub(super) struct Pump {
    pub(super) faults: watch::Receiver<Faults>,
    pub(super) target: SocketAddr,
    pub(super) cuts: broadcast::Receiver<Cut>,
    pub(super) counts: Arc<Counts>,
    /// Whether it has the bug of [`LostByte`].
    pub(super) loses: bool,
}

/// A guard that decrements the count of open connections.
struct Open(Arc<Counts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What ended one direction.
enum End {
    /// The sender has finished, and the receiver has got its FIN; the other direction may continue.
    Finished,
    Cut(Cut),
    /// An error on either side.
    Broken,
}

impl Pump {
    pub(super) async fn run(mut self, client: TcpStream, entry: Entry) {
        self.counts.open.fetch_add(1, Ordering::SeqCst);
        let _open = Open(Arc::clone(&self.counts));
        match entry {
            Entry::Open | Entry::Refuse => {}
            Entry::Reset => return reset(&client),
            Entry::Blackhole => {
                // Stays open and unread until a cut, or until the faults let it continue.
                tokio::select! {
                    _ = self.cuts.recv() => return reset(&client),
                    _ = self.faults.wait_for(|faults| faults.entry == Entry::Open) => {}
                }
            }
        }
        let Ok(server) = TcpStream::connect(self.target).await else {
            return reset(&client);
        };
        // Without Nagle's algorithm, which would change the timing of small messages.
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        self.pump(client, server).await;
    }

    async fn pump(mut self, mut client: TcpStream, mut server: TcpStream) {
        if self.until_cut(&mut client, &mut server).await == Some(Cut::Reset) {
            reset(&client);
            reset(&server);
        }
    }

    /// Passes bytes until both directions have finished (`None`) or something cuts.
    async fn until_cut(&mut self, client: &mut TcpStream, server: &mut TcpStream) -> Option<Cut> {
        // Borrowed halves: owned ones send FIN when they are dropped, even before a reset.
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let bug = LostByte::new(self.loses);
        let up = direction(
            from_client,
            to_server,
            self.faults.clone(),
            |f| f.up,
            &self.counts.up,
            |bytes| {
                bug.request(bytes);
                Cow::Borrowed(bytes)
            },
        );
        let down = direction(
            from_server,
            to_client,
            self.faults.clone(),
            |f| f.down,
            &self.counts.down,
            |bytes| bug.response(bytes),
        );
        tokio::pin!(up, down);
        let (mut up_done, mut down_done) = (false, false);
        loop {
            let end = tokio::select! {
                cut = self.cuts.recv() => {
                    self.counts.cut.fetch_add(1, Ordering::SeqCst);
                    return Some(cut.unwrap_or(Cut::Close));
                }
                end = &mut up, if !up_done => { up_done = true; end }
                end = &mut down, if !down_done => { down_done = true; end }
            };
            match end {
                End::Finished if up_done && down_done => return None,
                End::Finished => {}
                End::Cut(cut) => {
                    self.counts.cut.fetch_add(1, Ordering::SeqCst);
                    return Some(cut);
                }
                End::Broken => return Some(Cut::Reset),
            }
        }
    }
}

/// Closing the socket then sends RST and drops what is unsent (socket(7), SO_LINGER).
fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

async fn direction(
    mut read: ReadHalf<'_>,
    mut write: WriteHalf<'_>,
    mut faults: watch::Receiver<Faults>,
    of: fn(&Faults) -> Pipe,
    counted: &AtomicU64,
    change: impl for<'a> Fn(&'a [u8]) -> Cow<'a, [u8]>,
) -> End {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut passed = 0_u64;
    // The last faults, and the bytes since they were set.
    let (mut last, mut since) = (of(&faults.borrow()), 0_u64);
    loop {
        if faults.wait_for(|faults| !of(faults).stall).await.is_err() {
            return End::Broken;
        }
        let pipe = of(&faults.borrow());
        if pipe != last {
            (last, since) = (pipe, 0);
        }
        let read_now = tokio::select! {
            biased;
            // A new stall must also hold the bytes that arrive next.
            changed = faults.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return End::Broken,
            },
            read_now = read.read(&mut buffer) => read_now,
        };
        let pipe = of(&faults.borrow());
        let bytes = match read_now {
            Ok(0) => {
                let _ = write.shutdown().await;
                return End::Finished;
            }
            Ok(count) => change(&buffer[..count]),
            Err(_) => return End::Broken,
        };
        let after = pipe
            .cut_after
            .map_or(u64::MAX, |limit| limit.saturating_sub(passed));
        let more = pipe
            .cut_in
            .map_or(u64::MAX, |limit| limit.saturating_sub(since));
        let allowed = after.min(more);
        let keep = usize::try_from(allowed)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        if paced(&mut write, &bytes[..keep], pipe.bytes_per_second)
            .await
            .is_err()
        {
            return End::Broken;
        }
        passed += keep as u64;
        since += keep as u64;
        counted.fetch_add(keep as u64, Ordering::SeqCst);
        if keep as u64 == allowed {
            if pipe.cut == Cut::Reset {
                // A reset drops the bytes in the socket: give earlier bytes time to leave.
                tokio::time::sleep(STEP).await;
            }
            return End::Cut(pipe.cut);
        }
    }
}

async fn paced(write: &mut WriteHalf<'_>, bytes: &[u8], rate: Option<u64>) -> std::io::Result<()> {
    let Some(rate) = rate else {
        return write.write_all(bytes).await;
    };
    // At least one byte a step; a slower rate waits longer.
    let per_step = usize::try_from(rate / 50).unwrap_or(usize::MAX).max(1);
    let step = STEP.max(Duration::from_secs(1) / u32::try_from(rate.clamp(1, 50)).unwrap_or(50));
    for part in bytes.chunks(per_step) {
        write.write_all(part).await?;
        tokio::time::sleep(step).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::FaultProxy;
    use super::*;

    /// Starts an echo server.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        addr
    }

    async fn through(proxy: &FaultProxy, bytes: usize) -> (usize, Option<std::io::ErrorKind>) {
        let mut stream = match TcpStream::connect(proxy.addr()).await {
            Ok(stream) => stream,
            Err(error) => return (0, Some(error.kind())),
        };
        let (mut read, mut write) = stream.split();
        let send = async {
            let _ = write.write_all(&vec![7; bytes]).await;
            let _ = write.shutdown().await;
        };
        let receive = async {
            let mut got = 0;
            let mut buffer = [0; 4096];
            loop {
                match read.read(&mut buffer).await {
                    Ok(0) => return (got, None),
                    Ok(count) => got += count,
                    Err(error) => return (got, Some(error.kind())),
                }
            }
        };
        tokio::join!(send, receive).1
    }

    #[tokio::test]
    async fn without_faults_all_passes() {
        let proxy = FaultProxy::start(echo().await).await;
        assert_eq!(through(&proxy, 300_000).await, (300_000, None));
        assert_eq!(
            (proxy.connections(), proxy.bytes()),
            (1, (300_000, 300_000))
        );
    }

    #[tokio::test]
    async fn a_cut_counts_the_bytes_of_the_connection() {
        let proxy = FaultProxy::start(echo().await).await;
        proxy.set(Faults {
            down: Pipe::cut_after(1234),
            ..Faults::default()
        });
        let (got, error) = through(&proxy, 5_000).await;
        assert_eq!(
            (got, error),
            (1234, Some(std::io::ErrorKind::ConnectionReset))
        );
        proxy.set(Faults {
            down: Pipe {
                cut: Cut::Close,
                ..Pipe::cut_after(99)
            },
            ..Faults::default()
        });
        assert_eq!(through(&proxy, 99).await, (99, None));
        proxy.heal();
        assert_eq!(through(&proxy, 5_000).await, (5_000, None));
    }

    #[tokio::test]
    async fn a_cut_counts_the_bytes_since_it_was_set() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut stream = TcpStream::connect(proxy.addr()).await.expect("connects");
        stream.write_all(&[7; 1000]).await.expect("writes");
        let mut buffer = [0; 1000];
        stream.read_exact(&mut buffer).await.expect("passes");
        proxy.set(Faults {
            down: Pipe {
                cut_in: Some(600),
                ..Pipe::default()
            },
            ..Faults::default()
        });
        stream.write_all(&[7; 1000]).await.expect("writes");
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest).await;
        assert_eq!((rest.len(), proxy.cuts()), (600, 1), "{end:?}");
        proxy.heal();
        assert_eq!(through(&proxy, 5_000).await, (5_000, None));
        assert_eq!(proxy.cuts(), 1);
    }

    #[tokio::test]
    async fn new_connections_are_refused_or_reset_until_the_faults_end() {
        let proxy = FaultProxy::start(echo().await).await;
        proxy.set(Faults::refuse());
        // Closing the port takes a moment: the condition is that it is closed in the end.
        while through(&proxy, 1).await.1 != Some(std::io::ErrorKind::ConnectionRefused) {
            tokio::task::yield_now().await;
        }
        proxy.set(Faults {
            entry: Entry::Reset,
            ..Faults::default()
        });
        while through(&proxy, 1).await.1 != Some(std::io::ErrorKind::ConnectionReset) {
            tokio::task::yield_now().await;
        }
        proxy.heal();
        while through(&proxy, 10).await != (10, None) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_stall_holds_bytes_until_it_ends() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut stream = TcpStream::connect(proxy.addr()).await.expect("connects");
        let mut byte = [0];
        stream.write_all(b"a").await.expect("writes");
        stream.read_exact(&mut byte).await.expect("passes");
        proxy.set(Faults {
            down: Pipe::stalled(),
            ..Faults::default()
        });
        stream.write_all(b"b").await.expect("writes");
        let stalled =
            tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut byte)).await;
        assert!(stalled.is_err(), "nothing may pass");
        proxy.heal();
        stream.read_exact(&mut byte).await.expect("passes again");
        assert_eq!(&byte, b"b");
        proxy.cut_now(Cut::Reset);
        assert!(stream.read_exact(&mut byte).await.is_err());
    }

    #[tokio::test]
    async fn a_rate_limits_the_bytes() {
        let proxy = FaultProxy::start(echo().await).await;
        proxy.set(Faults {
            down: Pipe::slow(10_000),
            ..Faults::default()
        });
        let begin = std::time::Instant::now();
        assert_eq!(through(&proxy, 3_000).await.0, 3_000);
        assert!(
            begin.elapsed() >= Duration::from_millis(200),
            "{:?}",
            begin.elapsed()
        );
    }
}
