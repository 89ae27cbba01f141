use super::*;
use hakudo_seal::{PrivateKey, SharedKey};
use std::time::Duration;
use tokio::time::timeout;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn shared(seed: u8) -> Credentials {
    Credentials::Shared(vec![SharedKey::new([seed; 32])])
}

fn settings(local: NodeId, credentials: Credentials, peer: NodeId, at: Vec<String>) -> Settings {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    Settings { local, group: "g".into(), credentials, peers: [(peer, at)].into(), listen }
}

/// Two ends that know each other's addresses.
struct Pair {
    a: (Link, mpsc::UnboundedReceiver<Received>),
    b: (Link, mpsc::UnboundedReceiver<Received>),
}

fn pair(of_a: Credentials, of_b: Credentials) -> Pair {
    let a = Link::start(settings(A, of_a.clone(), B, Vec::new()), true).unwrap();
    let at_a = a.0.listens()[0].to_string();
    let b = Link::start(settings(B, of_b, A, vec![at_a]), true).unwrap();
    let at_b = b.0.listens()[0].to_string();
    a.0.configure(settings(A, of_a, B, vec![at_b]));
    Pair { a, b }
}

async fn next(end: &mut mpsc::UnboundedReceiver<Received>) -> Option<Vec<u8>> {
    timeout(Duration::from_secs(10), end.recv()).await.ok().flatten().map(|received| received.bytes)
}

#[tokio::test]
async fn the_first_word_arrives_and_so_do_long_ones() {
    let mut pair = pair(shared(1), shared(1));
    pair.a.0.send(B, b"first".to_vec());
    assert_eq!(next(&mut pair.b.1).await.as_deref(), Some(&b"first"[..]));
    pair.b.0.send(A, b"back".to_vec());
    assert_eq!(next(&mut pair.a.1).await.as_deref(), Some(&b"back"[..]));
    let long = vec![7; 1_000_000];
    pair.a.0.send(B, long.clone());
    assert_eq!(next(&mut pair.b.1).await, Some(long), "what fits no datagram goes by stream");
}

#[tokio::test]
async fn who_has_another_key_is_not_heard() {
    let mut pair = pair(shared(1), shared(2));
    pair.a.0.send(B, b"word".to_vec());
    pair.b.0.send(A, b"word".to_vec());
    let quiet = Duration::from_millis(600);
    assert!(timeout(quiet, pair.b.1.recv()).await.is_err() && timeout(quiet, pair.a.1.recv()).await.is_err());
}

#[tokio::test]
async fn only_the_node_that_speaks_answers() {
    let own = |seed: u8, peer: NodeId, of: u8| Credentials::Own {
        private: PrivateKey::new([seed; 32]),
        peers: [(peer, PrivateKey::new([of; 32]).public().unwrap())].into(),
    };
    let mut first = Link::start(settings(B, own(2, A, 1), A, Vec::new()), true).unwrap();
    let mut second = Link::start(settings(B, own(2, A, 1), A, Vec::new()), false).unwrap();
    let both = vec![first.0.listens()[0].to_string(), second.0.listens()[0].to_string()];
    let a = Link::start(settings(A, own(1, B, 2), B, both), true).unwrap();
    let at_a = vec![a.0.listens()[0].to_string()];
    for site in [&first.0, &second.0] {
        site.configure(settings(B, own(2, A, 1), A, at_a.clone()));
    }
    a.0.send(B, b"one".to_vec());
    assert_eq!(next(&mut first.1).await.as_deref(), Some(&b"one"[..]));
    first.0.speak(false);
    second.0.speak(true);
    second.0.send(A, b"it is me now".to_vec());
    for _ in 0..100 {
        a.0.send(B, b"two".to_vec());
        if let Ok(Some(received)) = timeout(Duration::from_millis(100), second.1.recv()).await {
            assert_eq!(received.bytes, b"two");
            return;
        }
    }
    panic!("the new speaker was never heard");
}

#[tokio::test]
async fn a_wall_against_datagrams_is_got_round() {
    // Nothing answers datagrams at the address that is known; a stream is passed on to the member behind.
    let mut b = Link::start(settings(B, shared(1), A, Vec::new()), true).unwrap();
    let behind = b.0.listens()[0];
    let wall = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = wall.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut outside, _)) = wall.accept().await {
            let mut inside = tokio::net::TcpStream::connect(behind).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut outside, &mut inside).await });
        }
    });
    let mut a = Link::start(settings(A, shared(1), B, vec![at]), true).unwrap();
    for _ in 0..100 {
        a.0.send(B, b"over".to_vec());
        if timeout(Duration::from_millis(100), b.1.recv()).await.is_ok() {
            b.0.send(A, b"and back".to_vec());
            assert_eq!(next(&mut a.1).await.as_deref(), Some(&b"and back"[..]));
            return;
        }
    }
    panic!("nothing came through");
}

#[tokio::test]
async fn a_lost_question_is_asked_again_whatever_else_comes() {
    // The place is taken, so that the first question is lost.
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap();
    let a = Link::start(settings(A, shared(1), B, vec![place.to_string()]), true).unwrap();
    let at_a = a.0.listens()[0];
    let noise = tokio::spawn(async move {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        loop {
            let _ = socket.send_to(b"noise", at_a).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    a.0.send(B, b"word".to_vec());
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(taken);
    let listen = vec![place];
    let b = Settings { listen, ..settings(B, shared(1), A, vec![at_a.to_string()]) };
    let mut b = Link::start(b, true).unwrap();
    let came = timeout(Duration::from_millis(1500), b.1.recv()).await;
    noise.abort();
    assert_eq!(came.ok().flatten().map(|received| received.bytes).as_deref(), Some(&b"word"[..]));
}

#[tokio::test]
async fn addresses_are_read_in_all_forms() {
    for (text, expected) in
        [("127.0.0.1", "127.0.0.1:9929"), ("127.0.0.1:7", "127.0.0.1:7"), ("::1", "[::1]:9929"), ("[::1]:7", "[::1]:7")]
    {
        assert_eq!(resolve(text).await.unwrap(), vec![expected.parse::<SocketAddr>().unwrap()], "{text}");
    }
}
