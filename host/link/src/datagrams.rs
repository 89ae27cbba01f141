//! Sockets for datagrams.
//!
//! The system is asked to wake this process when something has come, and for nothing else: a process that sends ten times a
//! second would otherwise be woken once more each time the network is done with what it sent.

use anyhow::Result;
use rustix::net::SendFlags;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Datagrams {
    socket: AsyncFd<UdpSocket>,
    local: SocketAddr,
}

impl Datagrams {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        #[expect(
            deprecated,
            reason = "it asks for a descriptor that stays open, as that of an owned socket does; its successors are not safe"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { socket, local })
    }

    /// Where it is bound, with the port that the system chose.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// A socket can send to addresses of its own kind only.
    pub(crate) fn fits(&self, address: SocketAddr) -> bool {
        self.local.is_ipv4() == address.is_ipv4()
    }

    /// The next datagram: its length in `buffer`, and where it came from.
    ///
    /// # Errors
    /// What became of a datagram that was sent before (nobody listens there): it says nothing of the next one.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.async_io(Interest::READABLE, |socket| socket.recv_from(buffer)).await
    }

    /// Sends at once or not at all.
    ///
    /// # Errors
    /// Why it was not sent: it is as if it were lost.
    pub(crate) fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::sendto(self.socket.get_ref(), bytes, flags, &to)?;
        Ok(())
    }
}

/// One address for datagrams and streams alike. Where the system chooses the port, it must be free for both.
///
/// # Errors
/// Where the address cannot be used.
pub(crate) fn listen(address: SocketAddr) -> Result<(Datagrams, TcpListener)> {
    const TRIES: u32 = 20;
    let mut tries = 0;
    loop {
        tries += 1;
        let socket = UdpSocket::bind(address)?;
        match std::net::TcpListener::bind(socket.local_addr()?) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                return Ok((Datagrams::new(socket)?, TcpListener::from_std(listener)?));
            }
            Err(_) if address.port() == 0 && tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    /// How often this thread gave its processor away by itself.
    fn times_asleep() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    }

    #[test]
    fn what_was_sent_wakes_nobody() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (near, _) = runtime.block_on(async { listen("127.0.0.1:0".parse().unwrap()).unwrap() });
        let near = Arc::new(near);
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (to, done) = (far.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (sender, ended) = (Arc::clone(&near), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            for _ in 0..100 {
                sender.send(&[1; 80], to).unwrap();
                // The room that it took is free again once it was read.
                far.recv(&mut [0; 100]).unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
            ended.store(true, Ordering::Relaxed);
        });
        let asleep = runtime.block_on(async {
            let before = times_asleep();
            let receive = async { near.receive(&mut [0; 100]).await };
            let _ = tokio::time::timeout(Duration::from_millis(600), receive).await;
            times_asleep() - before
        });
        thread.join().unwrap();
        assert!(done.load(Ordering::Relaxed) && asleep < 40, "it was woken {asleep} times");
    }
}
