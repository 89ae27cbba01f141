//! Messages between the members of a booth group: booth's datagrams, and the connections of booth's clients.
//!
//! Members are known by what stands in a message, not by where it came from: an address may have moved to another node
//! since. So datagrams go to the addresses that the configuration names, and whatever comes is given to the engine, which
//! looks for the key. A client sends one message and is answered once or several times; then its connection is closed.

use crate::datagrams::{Datagrams, listen};
use anyhow::{Context, Result};
use hakudo_tickets::booth::engine::ClientId;
use hakudo_tickets::booth::wire::{HEADER, LONGEST};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// Who speaks with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the other members are, by their numbers on the wire; datagrams go to all addresses of a member.
    pub peers: BTreeMap<u32, Vec<SocketAddr>>,
    /// Where this process listens, for datagrams and for clients.
    pub listen: Vec<SocketAddr>,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A datagram, whoever sent it.
    Datagram(Vec<u8>),
    /// A whole message of a client.
    Client(ClientId, Vec<u8>),
    /// A client closed its connection.
    Gone(ClientId),
}

/// So many clients are connected at a time, at each address.
const MOST_CLIENTS: usize = 128;
/// A client that has not sent a whole message by then is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client that is not answered by then has gone, or will ask again: grants wait for a lease at most.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// So many datagrams a second are taken at a socket. A group needs a few for each ticket; a flood must not become work for
/// a whole cluster.
const MOST_DATAGRAMS: u32 = 2000;

type Clients = Arc<Mutex<BTreeMap<ClientId, mpsc::UnboundedSender<(Vec<u8>, bool)>>>>;

/// This end of the connections. All are closed when it is dropped.
#[derive(Debug)]
pub struct BoothLink {
    sockets: Vec<Arc<Datagrams>>,
    listens: Vec<SocketAddr>,
    settings: Settings,
    clients: Clients,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for BoothLink {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl BoothLink {
    /// Listens. Needs a tokio runtime.
    ///
    /// # Errors
    /// Where an address cannot be used.
    pub fn start(settings: Settings) -> Result<(Self, mpsc::UnboundedReceiver<Came>)> {
        let (came, queue) = mpsc::unbounded_channel();
        let clients = Clients::default();
        let (mut sockets, mut listens, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for address in &settings.listen {
            let cannot = || format!("cannot listen at {address}: does a boothd run here?");
            let (socket, listener) = listen(*address).with_context(cannot)?;
            listens.push(socket.local());
            let socket = Arc::new(socket);
            tasks.push(tokio::spawn(read_datagrams(Arc::clone(&socket), came.clone())));
            tasks.push(tokio::spawn(take_clients(listener, Arc::clone(&clients), came.clone())));
            sockets.push(socket);
        }
        Ok((Self { sockets, listens, settings, clients, tasks }, queue))
    }

    /// Sends a datagram to a member; it may be lost.
    pub fn send(&self, to: u32, bytes: &[u8]) {
        for address in self.settings.peers.get(&to).into_iter().flatten() {
            let Some(socket) = self.sockets.iter().find(|socket| socket.fits(*address)) else { continue };
            // What is lost is sent again.
            if let Err(error) = socket.send(bytes, *address) {
                tracing::debug!("nothing can be sent to {address}: {error}");
            }
        }
    }

    /// Answers a client, if it is still there.
    pub fn answer(&self, client: ClientId, bytes: Vec<u8>, last: bool) {
        if let Some(connection) = locked(&self.clients).get(&client) {
            // It closes by itself.
            let _ = connection.send((bytes, last));
        }
    }

    /// Other members or addresses from now on. Where it listens stays as it is.
    pub fn configure(&mut self, settings: Settings) {
        self.settings.peers = settings.peers;
    }

    /// Where it listens, with the ports that the system chose.
    pub fn listens(&self) -> &[SocketAddr] {
        &self.listens
    }
}

/// The table is whole after every change: a task that died within one cannot have spoilt it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read_datagrams(socket: Arc<Datagrams>, came: mpsc::UnboundedSender<Came>) {
    let mut bytes = vec![0; LONGEST + 1];
    let (mut second, mut taken) = (Instant::now(), 0);
    loop {
        let Ok((length, _)) = socket.receive(&mut bytes).await else {
            // An answer of ICMP to something that was sent.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        if second.elapsed() >= Duration::from_secs(1) {
            (second, taken) = (Instant::now(), 0);
        }
        taken += 1;
        if taken > MOST_DATAGRAMS || !(HEADER..=LONGEST).contains(&length) {
            continue;
        }
        if came.send(Came::Datagram(bytes[..length].to_vec())).is_err() {
            return;
        }
    }
}

async fn take_clients(listener: TcpListener, clients: Clients, came: mpsc::UnboundedSender<Came>) {
    // Before its first message too, a client takes one of the places.
    let places = Arc::new(Semaphore::new(MOST_CLIENTS));
    loop {
        match listener.accept().await {
            // One too many is closed at once.
            Ok((stream, _)) => {
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let (clients, came) = (Arc::clone(&clients), came.clone());
                    tokio::spawn(async move {
                        serve(stream, clients, came).await;
                        drop(place);
                    });
                }
            }
            Err(error) => {
                tracing::warn!("a client could not be taken: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Numbers for connections: never the same again in the life of the process.
static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

async fn serve(mut stream: TcpStream, clients: Clients, came: mpsc::UnboundedSender<Came>) {
    let Ok(Some(message)) = tokio::time::timeout(PATIENCE, read_message(&mut stream)).await else { return };
    let client = ClientId(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let (answers, mut queue) = mpsc::unbounded_channel::<(Vec<u8>, bool)>();
    locked(&clients).insert(client, answers);
    if came.send(Came::Client(client, message)).is_ok() {
        answer(&mut stream, &mut queue).await;
    }
    locked(&clients).remove(&client);
    // The receiver ends with the process.
    let _ = came.send(Came::Gone(client));
}

async fn answer(stream: &mut TcpStream, queue: &mut mpsc::UnboundedReceiver<(Vec<u8>, bool)>) {
    let end = tokio::time::sleep(LONGEST_WAIT);
    tokio::pin!(end);
    let mut rest = [0; 64];
    loop {
        tokio::select! {
            () = &mut end => return,
            // Nothing more is asked; this tells when it goes.
            read = stream.read(&mut rest) => if !matches!(read, Ok(length) if length > 0) { return },
            answered = queue.recv() => {
                let Some((bytes, last)) = answered else { return };
                let written = tokio::time::timeout(PATIENCE, stream.write_all(&bytes)).await;
                if last || !matches!(written, Ok(Ok(()))) {
                    // It is closed anyway.
                    let _ = stream.shutdown().await;
                    return;
                }
            }
        }
    }
}

/// One message: its header tells its length.
async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    stream.read_exact(&mut bytes).await.ok()?;
    let length = bytes.get(24..28)?.try_into().ok().map(u32::from_be_bytes)?;
    let length = usize::try_from(length).ok().filter(|length| (HEADER..=LONGEST).contains(length))?;
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes[HEADER..]).await.ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::net::UdpSocket;

    fn settings(peers: &[(u32, SocketAddr)]) -> Settings {
        let peers = peers.iter().map(|(id, address)| (*id, vec![*address])).collect();
        Settings { peers, listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))] }
    }

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![7; length];
        bytes[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        bytes
    }

    #[tokio::test]
    async fn datagrams_and_clients_come_and_are_answered() {
        let (far, mut far_came) = BoothLink::start(settings(&[])).unwrap();
        let (near, mut near_came) = BoothLink::start(settings(&[(5, far.listens()[0])])).unwrap();
        near.send(5, &message(124));
        assert_eq!(far_came.recv().await, Some(Came::Datagram(message(124))));

        let mut client = TcpStream::connect(near.listens()[0]).await.unwrap();
        client.write_all(&message(HEADER)).await.unwrap();
        let Some(Came::Client(id, bytes)) = near_came.recv().await else { panic!("no client") };
        assert_eq!(bytes, message(HEADER));
        near.answer(id, b"more".to_vec(), false);
        near.answer(id, b" end".to_vec(), true);
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"more end");
        assert_eq!(near_came.recv().await, Some(Came::Gone(id)));
    }

    #[tokio::test]
    async fn clients_that_say_nothing_have_places_too() {
        let (near, mut came) = BoothLink::start(settings(&[])).unwrap();
        let mut silent = Vec::new();
        for _ in 0..MOST_CLIENTS {
            silent.push(TcpStream::connect(near.listens()[0]).await.unwrap());
        }
        let mut late = TcpStream::connect(near.listens()[0]).await.unwrap();
        assert_eq!(late.read(&mut [0; 1]).await.unwrap_or(0), 0, "one too many is closed");
        // Those that are there are served, and make room when they go.
        silent[0].write_all(&message(HEADER)).await.unwrap();
        let Some(Came::Client(id, _)) = came.recv().await else { panic!("no client") };
        near.answer(id, b"it".to_vec(), true);
        assert_eq!(came.recv().await, Some(Came::Gone(id)));
        drop(silent);
        loop {
            let mut client = TcpStream::connect(near.listens()[0]).await.unwrap();
            if client.write_all(&message(HEADER)).await.is_ok()
                && let Ok(Some(Came::Client(..))) = tokio::time::timeout(Duration::from_millis(500), came.recv()).await
            {
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_datagram_leaves_by_a_socket_of_its_kind() {
        let (far, mut far_came) = match BoothLink::start(Settings {
            peers: BTreeMap::new(),
            listen: vec![SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0))],
        }) {
            Ok(far) => far,
            // A machine without IPv6 has no such members.
            Err(_) => return,
        };
        let listen =
            vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0))];
        let peers = BTreeMap::from([(5, vec![far.listens()[0]])]);
        let (near, _came) = BoothLink::start(Settings { peers, listen }).unwrap();
        near.send(5, &message(124));
        assert_eq!(far_came.recv().await, Some(Came::Datagram(message(124))));
    }

    #[tokio::test]
    async fn what_is_too_long_or_too_short_is_not_taken() {
        let (near, mut came) = BoothLink::start(settings(&[])).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        for length in [1, HEADER - 1, LONGEST + 1] {
            socket.send_to(&vec![0; length], near.listens()[0]).await.unwrap();
        }
        let mut client = TcpStream::connect(near.listens()[0]).await.unwrap();
        client.write_all(&message(LONGEST + 1)).await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed without an answer");
        socket.send_to(&message(HEADER), near.listens()[0]).await.unwrap();
        assert_eq!(came.recv().await, Some(Came::Datagram(message(HEADER))), "nothing came before");
    }
}
